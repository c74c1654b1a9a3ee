import { useEffect, useState } from "react";
import { useMfe } from "../remote/context";

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** "3 minutes ago"; "just now" below one minute. */
export function formatRelative(at: Date, now: Date, locale: string): string {
  const seconds = Math.round((at.getTime() - now.getTime()) / 1000);
  for (const [unit, size] of STEPS) {
    if (Math.abs(seconds) >= size)
      return new Intl.RelativeTimeFormat(locale, { numeric: "auto", style: "short" }).format(
        Math.trunc(seconds / size),
        unit,
      );
  }
  return "just now";
}

/** Date and time in the person's zone. */
export function formatDateTime(iso: string, locale: string, timeZone: string, seconds = false): string {
  return new Intl.DateTimeFormat(locale, {
    timeZone,
    dateStyle: "medium",
    timeStyle: seconds ? "medium" : "short",
  }).format(new Date(iso));
}

interface TimeProps {
  value: string | null | undefined;
  relative?: boolean;
  seconds?: boolean;
}

/** A moment in the person's time zone; the relative form keeps itself up to date and shows the full one on hover. */
export function Time({ value, relative, seconds }: TimeProps) {
  const { locale, timeZone } = useMfe();
  const [now, setNow] = useState(() => new Date());
  useEffect(() => {
    if (!relative) return;
    const timer = setInterval(() => setNow(new Date()), 30_000);
    return () => clearInterval(timer);
  }, [relative]);
  if (!value) return <span className="muted">–</span>;
  const full = formatDateTime(value, locale, timeZone, seconds);
  return (
    <time dateTime={value} title={relative ? `${full} (${timeZone})` : timeZone} className="nowrap num">
      {relative ? formatRelative(new Date(value), now, locale) : full}
    </time>
  );
}
