import base from "./base.css?inline";
import controls from "./controls.css?inline";
import data from "./data.css?inline";
import overlay from "./overlay.css?inline";

const sheets = new Map<string, CSSStyleSheet>();

/** One constructed sheet per text, shared by all roots; constructed sheets need no `unsafe-inline`. */
export function sheetOf(css: string): CSSStyleSheet {
  let sheet = sheets.get(css);
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    sheets.set(css, sheet);
  }
  return sheet;
}

/** Adds `css` to a document or shadow root once. */
export function adoptStyles(root: DocumentOrShadowRoot, css: string): void {
  const sheet = sheetOf(css);
  if (!root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
}

/** The components' own styles. */
export const uiStyles = base + controls + data + overlay;
