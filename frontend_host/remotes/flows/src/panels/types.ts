/** Types offered for a target field; any other type of the engine may be typed in. */
export const TYPES = [
  "VARCHAR",
  "BIGINT",
  "INTEGER",
  "DECIMAL(18,2)",
  "DECIMAL(18,4)",
  "DECIMAL(38,10)",
  "DOUBLE",
  "BOOLEAN",
  "DATE",
  "TIMESTAMP",
  "TIMESTAMPTZ",
  "TIME",
  "UUID",
  "JSON",
] as const;
