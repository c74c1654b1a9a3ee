import { expect, test } from "vitest";
import { type ColorToken, contrastRatio, designTokens, type ThemeName } from "../src";

/** [foreground, background, least ratio]: 4.5 for text, 3 for outlines and marks that carry meaning. */
const pairs: [ColorToken, ColorToken, number][] = [
  ["text", "bg", 4.5],
  ["text", "surface-3", 4.5],
  ["text-2", "surface-2", 4.5],
  ["text-3", "surface", 4.5],
  ["text-3", "surface-2", 4.5],
  ["text-3", "bg", 4.5],
  ["on-accent", "accent", 4.5],
  ["on-accent", "accent-hover", 4.5],
  ["accent-text", "accent-soft", 4.5],
  ["accent-text", "surface", 4.5],
  ["ok-text", "ok-soft", 4.5],
  ["warn-text", "warn-soft", 4.5],
  ["bad-text", "bad-soft", 4.5],
  ["bad-text", "surface", 4.5],
  ["syntax-function", "surface", 4.5],
  ["syntax-string", "surface", 4.5],
  ["syntax-number", "surface", 4.5],
  ["syntax-operator", "surface", 4.5],
  ["border-strong", "surface", 3],
  ["focus", "bg", 3],
  ["ok", "surface", 3],
  ["warn", "surface", 3],
  ["bad", "surface", 3],
];

test.each((["light", "dark"] as ThemeName[]).flatMap((theme) => pairs.map((pair) => [theme, ...pair] as const)))(
  "%s: %s on %s reaches %d",
  (theme, front, back, least) => {
    expect(contrastRatio(designTokens[theme][front], designTokens[theme][back])).toBeGreaterThanOrEqual(least);
  },
);
