/** Shapes of REST v2 as the pages use them. Amounts and totals are decimal strings and are never parsed to numbers. */
export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };

export type JsonObject = { [key: string]: JsonValue };

export type Row = Record<string, JsonValue>;

export interface JsonSchema {
  type?: string | string[];
  title?: string;
  description?: string;
  default?: JsonValue;
  enum?: JsonValue[];
  const?: JsonValue;
  oneOf?: JsonSchema[];
  anyOf?: JsonSchema[];
  items?: JsonSchema;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  format?: string;
  examples?: JsonValue[];
  additionalProperties?: boolean | JsonSchema;
  "x-secret"?: boolean;
  "x-enum-labels"?: Record<string, string>;
  "x-placeholder"?: string;
  "x-show-when"?: Record<string, JsonValue[]>;
}
