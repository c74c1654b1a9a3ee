import type { JsonObject, JsonSchema, JsonValue } from "@portal/api-client";
import { Checkbox, Field, type Option, Select, TextArea, TextInput } from "@portal/ui";
import { useState } from "react";
import { isShown, kindOf, labelOf } from "./schema";

interface SchemaFormProps {
  schema: JsonSchema;
  values: JsonObject;
  errors: Record<string, string>;
  onChange: (values: JsonObject) => void;
  prefix?: string;
}

/** A form made from a JSON Schema; the order of the properties is the order of the fields. */
export function SchemaForm({ schema, values, errors, onChange, prefix = "" }: SchemaFormProps) {
  return (
    <div className="form-grid">
      {Object.entries(schema.properties ?? {})
        .filter(([, property]) => isShown(property, values))
        .map(([name, property]) => (
          <SchemaField
            key={name}
            name={name}
            schema={property}
            path={prefix + name}
            required={schema.required?.includes(name) ?? false}
            value={values[name]}
            errors={errors}
            onChange={(value) => {
              const next = { ...values };
              if (value === undefined) delete next[name];
              else next[name] = value;
              onChange(next);
            }}
          />
        ))}
    </div>
  );
}

interface SchemaFieldProps {
  name: string;
  schema: JsonSchema;
  path: string;
  required: boolean;
  value: JsonValue | undefined;
  errors: Record<string, string>;
  onChange: (value: JsonValue | undefined) => void;
}

function SchemaField({ name, schema, path, required, value, errors, onChange }: SchemaFieldProps) {
  const kind = kindOf(schema);
  const label = labelOf(name, schema);
  const error = errors[path] ?? errors[`config.${path}`] ?? null;
  if (kind === "boolean")
    return (
      <div className="full">
        <Checkbox label={label} hint={schema.description} checked={value === true} onChange={onChange} />
        {error && <span className="error">{error}</span>}
      </div>
    );
  if (kind === "object" && schema.properties)
    return (
      <fieldset className="full">
        <legend>{label}</legend>
        <SchemaForm
          schema={schema}
          values={(value as JsonObject) ?? {}}
          errors={errors}
          prefix={`${path}.`}
          onChange={onChange}
        />
      </fieldset>
    );
  const wide =
    kind === "object" ||
    kind === "array" ||
    schema.format === "uri" ||
    schema.format === "textarea" ||
    (schema.maxLength ?? 0) > 120;
  return (
    <div className={wide ? "full" : undefined}>
      <Field label={label} hint={schema.description} error={error} required={required}>
        {(ids) => {
          if (kind === "choice")
            return (
              <Select
                {...ids}
                value={stringOf(value)}
                options={optionsOf(schema)}
                onChange={(text) => onChange(choiceOf(schema, text))}
              />
            );
          if (kind === "integer" || kind === "number")
            return (
              <TextInput
                {...ids}
                inputMode="numeric"
                value={stringOf(value)}
                placeholder={stringOf(schema.default)}
                onChange={(text) =>
                  onChange(text.trim() === "" ? undefined : /^-?\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : text)
                }
              />
            );
          if (kind === "array" || kind === "object")
            return <JsonArea ids={ids} kind={kind} value={value} onChange={onChange} />;
          if (schema.format === "textarea")
            return (
              <TextArea
                {...ids}
                className="mono"
                spellCheck={false}
                value={stringOf(value)}
                onChange={(text) => onChange(text === "" ? undefined : text)}
              />
            );
          return (
            <TextInput
              {...ids}
              value={stringOf(value)}
              placeholder={schema["x-placeholder"] ?? stringOf(schema.examples?.[0])}
              onChange={(text) => onChange(text === "" ? undefined : text)}
            />
          );
        }}
      </Field>
    </div>
  );
}

/** Lists of texts are edited a line each; other structures as JSON, kept as text while it does not parse. */
function JsonArea({
  ids,
  kind,
  value,
  onChange,
}: {
  ids: object;
  kind: string;
  value: JsonValue | undefined;
  onChange: (value: JsonValue | undefined) => void;
}) {
  const lines =
    kind === "array" &&
    (value === undefined || (Array.isArray(value) && value.every((item) => typeof item === "string")));
  const [text, setText] = useState(() =>
    value === undefined ? "" : lines ? (value as string[]).join("\n") : JSON.stringify(value, null, 2),
  );
  const [asLines] = useState(lines);
  return (
    <TextArea
      {...ids}
      className="mono"
      spellCheck={false}
      placeholder={asLines ? "One a line" : "JSON"}
      value={text}
      onChange={(next) => {
        setText(next);
        if (!next.trim()) onChange(undefined);
        else if (asLines && !next.trim().startsWith("["))
          onChange(
            next
              .split("\n")
              .map((line) => line.trim())
              .filter(Boolean),
          );
        else {
          try {
            onChange(JSON.parse(next) as JsonValue);
          } catch {
            // Half-typed; the last value that parsed stays.
          }
        }
      }}
    />
  );
}

function stringOf(value: JsonValue | undefined): string {
  return value === undefined || value === null ? "" : String(value);
}

/** Values that cannot be seen, or hardly, in a list. */
const NAMES_OF_SIGNS: Record<string, string> = {
  "\t": "Tab",
  " ": "Space",
  ",": ", (comma)",
  ";": "; (semicolon)",
  "|": "| (bar)",
  ".": ". (point)",
};

function optionsOf(schema: JsonSchema): Option[] {
  const options = schema.enum
    ? schema.enum.map((value) => ({
        value: stringOf(value),
        label: schema["x-enum-labels"]?.[stringOf(value)] ?? NAMES_OF_SIGNS[stringOf(value)] ?? stringOf(value),
      }))
    : (schema.oneOf ?? []).map((option) => ({
        value: stringOf(option.const),
        label: option.title ?? stringOf(option.const),
      }));
  return schema.default !== undefined
    ? options
    : [{ value: "", label: "Choose…" }, ...options.filter((option) => option.value !== "")];
}

function choiceOf(schema: JsonSchema, text: string): JsonValue | undefined {
  if (text === "") return undefined;
  const values = schema.enum ?? (schema.oneOf ?? []).map((option) => option.const ?? null);
  return values.find((value) => stringOf(value) === text) ?? text;
}
