/** Whether values of a type are exact decimals, which arrive as strings. */
export function isDecimalType(type: string): boolean {
  return /^(DECIMAL|NUMERIC)/i.test(type);
}

/**
 * A decimal string in the person's notation, with exactly the digits it has: Intl takes the string itself, so nothing
 * passes through a float. Text that is not a decimal is returned as it is.
 */
export function formatDecimal(text: string, locale: string): string {
  if (!/^[+-]?\d+(\.\d+)?$/.test(text)) return text;
  const digits = Math.min(20, text.split(".")[1]?.length ?? 0);
  const format = new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return format.format(text as unknown as number);
}

export function formatCount(count: number | null | undefined, locale: string): string {
  return count === null || count === undefined ? "–" : new Intl.NumberFormat(locale).format(count);
}

/** Short counts for tiles: 1.2M, 34K. */
export function formatCompact(count: number, locale: string): string {
  return new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 }).format(count);
}

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"] as const;

export function formatBytes(bytes: number | null | undefined, locale: string): string {
  if (bytes === null || bytes === undefined) return "–";
  const power = bytes < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log(bytes) / Math.log(1000)));
  return new Intl.NumberFormat(locale, {
    style: "unit",
    unit: UNITS[power],
    unitDisplay: power ? "short" : "long",
    maximumFractionDigits: power > 1 ? 1 : 0,
  }).format(bytes / 1000 ** power);
}

/** 850 ms, 12.4 s, 3 min 20 s, 2 h 5 min. */
export function formatDuration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
