import type { SecretField } from "@portal/api-client";
import { Button, Field, TextInput } from "@portal/ui";
import { labelOf } from "./schema";

interface SecretFieldsProps {
  secrets: SecretField[];
  /** Names that are stored; their values never come back from the server. */
  stored: readonly string[];
  /** New values; null deletes a stored one; absent leaves it. */
  values: Record<string, string | null>;
  errors: Record<string, string>;
  onChange: (values: Record<string, string | null>) => void;
}

export function SecretFields({ secrets, stored, values, errors, onChange }: SecretFieldsProps) {
  if (!secrets.length) return null;
  const change = (name: string, value: string | null | undefined) => {
    const next = { ...values };
    if (value === undefined) delete next[name];
    else next[name] = value;
    onChange(next);
  };
  return (
    <fieldset>
      <legend>Secrets</legend>
      <div className="form-grid">
        {secrets.map((secret) => {
          const isStored = stored.includes(secret.name);
          const value = values[secret.name];
          const label = labelOf(secret.name, secret);
          if (isStored && value === undefined)
            return (
              <div key={secret.name} className="field">
                <span className="label">{label}</span>
                <span className="secret">
                  <span className="dots" role="img" aria-label="is set">
                    •••••••• <span className="muted xs">set</span>
                  </span>
                  <Button small onClick={() => change(secret.name, "")}>
                    Replace
                  </Button>
                  {!secret.required && (
                    <Button small tone="danger" onClick={() => change(secret.name, null)}>
                      Remove
                    </Button>
                  )}
                </span>
              </div>
            );
          if (value === null)
            return (
              <div key={secret.name} className="field">
                <span className="label">{label}</span>
                <span className="secret">
                  <span className="grow soft">Removed when you save.</span>
                  <Button small onClick={() => change(secret.name, undefined)}>
                    Keep it
                  </Button>
                </span>
              </div>
            );
          return (
            <Field
              key={secret.name}
              label={label}
              hint={secret.description}
              required={secret.required ?? false}
              error={errors[`secrets.${secret.name}`] ?? errors[secret.name] ?? null}
            >
              {(ids) => (
                <span className="row">
                  <TextInput
                    {...ids}
                    type="password"
                    autoComplete="new-password"
                    value={value ?? ""}
                    onChange={(text) => change(secret.name, text)}
                  />
                  {isStored && (
                    <Button small onClick={() => change(secret.name, undefined)}>
                      Keep old
                    </Button>
                  )}
                </span>
              )}
            </Field>
          );
        })}
      </div>
    </fieldset>
  );
}
