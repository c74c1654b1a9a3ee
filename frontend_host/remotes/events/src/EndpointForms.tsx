import type { WebhookEndpoint, WithSecret } from "@portal/api-client";
import { ApiError } from "@portal/api-client";
import { Button, Dialog, ErrorNotice, Field, Select, TextInput, useAction, useMfe } from "@portal/ui";
import { useState } from "react";

const SCHEMES = [
  { value: "standard-webhooks", label: "Standard Webhooks" },
  { value: "stripe", label: "Stripe" },
  { value: "slack", label: "Slack" },
  { value: "github", label: "GitHub" },
  { value: "hmac", label: "HMAC of your own" },
];
const SIGNED = [
  { value: "body", label: "the body" },
  { value: "timestamp.body", label: "time.body" },
  { value: "id.timestamp.body", label: "id.time.body" },
];
const DAY_S = 86_400;

export function schemeLabel(scheme: string): string {
  return SCHEMES.find((one) => one.value === scheme)?.label ?? scheme;
}

/** Senders of these schemes make the secret; for the others the portal can. */
function senderMakesSecret(scheme: string): boolean {
  return scheme !== "standard-webhooks" && scheme !== "hmac";
}

interface FormProps {
  onClose: () => void;
  onSaved: (row: WithSecret<WebhookEndpoint>) => void;
}

/** A new address. */
export function EndpointForm({ onClose, onSaved }: FormProps) {
  const { api } = useMfe();
  const [name, setName] = useState("");
  const [scheme, setScheme] = useState("standard-webhooks");
  const [type, setType] = useState("");
  const [secret, setSecret] = useState("");
  const [config, setConfig] = useState<Record<string, string>>({ signature_header: "X-Signature", signed: "body" });
  const action = useAction();
  const problem = (path: string) =>
    action.error instanceof ApiError ? (action.error.problems.find((one) => one.path === path)?.message ?? null) : null;
  const submit = async () => {
    const made = await action.run(() =>
      api.webhookEndpoints.create({
        name: name.trim(),
        scheme,
        ...(type.trim() ? { event_type: type.trim() } : {}),
        ...(secret ? { secret } : {}),
        ...(scheme === "hmac" ? { config } : {}),
      }),
    );
    if (made) onSaved(made);
  };
  const text = (key: string, label: string, hint?: string) => (
    <Field label={label} hint={hint} error={problem(`config.${key}`)} required={false}>
      {(ids) => (
        <TextInput {...ids} value={config[key] ?? ""} onChange={(value) => setConfig({ ...config, [key]: value })} />
      )}
    </Field>
  );
  return (
    <Dialog
      title="New address for webhooks"
      wide
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            type="submit"
            tone="primary"
            busy={action.busy}
            disabled={!name.trim() || (senderMakesSecret(scheme) && !secret)}
          >
            Create
          </Button>
        </>
      }
    >
      <Field label="Name" error={problem("name")} required>
        {(ids) => <TextInput {...ids} maxLength={100} value={name} onChange={setName} />}
      </Field>
      <Field label="Signed by">
        {(ids) => <Select {...ids} value={scheme} onChange={setScheme} options={SCHEMES} />}
      </Field>
      {scheme === "hmac" && (
        <>
          {text("signature_header", "Header of the signature")}
          <Field label="Signed is" error={problem("config.signed")}>
            {(ids) => (
              <Select
                {...ids}
                value={config.signed ?? "body"}
                onChange={(value) => setConfig({ ...config, signed: value })}
                options={SIGNED}
              />
            )}
          </Field>
          {text("timestamp_header", "Header of the time")}
          {text("id_header", "Header of the message id")}
          {text("prefix", "Prefix of the signature", "sha256=, for example")}
        </>
      )}
      <Field
        label="Secret"
        hint={senderMakesSecret(scheme) ? "As the sender shows it." : "Made here when empty, and shown once."}
        error={problem("secret")}
        required={senderMakesSecret(scheme)}
      >
        {(ids) => <TextInput {...ids} type="password" autoComplete="off" value={secret} onChange={setSecret} />}
      </Field>
      <Field
        label="Event type"
        hint="webhook.received.v1 when empty, or one of your own: com.example.invoice.paid.v1"
        error={problem("event_type")}
        required={false}
      >
        {(ids) => <TextInput {...ids} value={type} onChange={setType} />}
      </Field>
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}

/** A new secret beside the old one, which ends a day later. */
export function RotateForm({ endpoint, onClose, onSaved }: FormProps & { endpoint: WebhookEndpoint }) {
  const { api } = useMfe();
  const [secret, setSecret] = useState("");
  const action = useAction();
  const needed = senderMakesSecret(endpoint.scheme);
  const submit = async () => {
    const saved = await action.run(() =>
      api.webhookEndpoints.rotate(endpoint.id, { overlap_s: DAY_S, ...(secret ? { secret } : {}) }),
    );
    if (saved) onSaved(saved);
  };
  return (
    <Dialog
      title="Rotate the secret"
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" busy={action.busy} disabled={needed && !secret}>
            Rotate
          </Button>
        </>
      }
    >
      <p className="soft">The old secret counts for one more day.</p>
      <Field
        label="New secret"
        hint={needed ? "As the sender shows it." : "Made here when empty, and shown once."}
        required={needed}
      >
        {(ids) => <TextInput {...ids} type="password" autoComplete="off" value={secret} onChange={setSecret} />}
      </Field>
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}

interface LimitProps {
  endpoint: WebhookEndpoint;
  onClose: () => void;
  onSaved: (row: WebhookEndpoint) => void;
}

/** How many webhooks the address takes; empty is as installed. */
export function LimitForm({ endpoint, onClose, onSaved }: LimitProps) {
  const { api } = useMfe();
  const [rate, setRate] = useState(endpoint.rate_per_s === null ? "" : String(endpoint.rate_per_s));
  const [burst, setBurst] = useState(endpoint.burst === null ? "" : String(endpoint.burst));
  const action = useAction();
  const problem = (path: string) =>
    action.error instanceof ApiError ? (action.error.problems.find((one) => one.path === path)?.message ?? null) : null;
  const submit = async () => {
    const saved = await action.run(() =>
      api.webhookEndpoints.update(endpoint.id, {
        rate_per_s: rate.trim() ? Number(rate) : null,
        burst: burst.trim() ? Number(burst) : null,
      }),
    );
    if (saved) onSaved(saved);
  };
  return (
    <Dialog
      title="Limit"
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" busy={action.busy}>
            Save
          </Button>
        </>
      }
    >
      <Field label="Webhooks a second" hint="As installed when empty." error={problem("rate_per_s")} required={false}>
        {(ids) => <TextInput {...ids} type="number" inputMode="numeric" min={1} value={rate} onChange={setRate} />}
      </Field>
      <Field label="At once, after a rest" hint="As installed when empty." error={problem("burst")} required={false}>
        {(ids) => <TextInput {...ids} type="number" inputMode="numeric" min={1} value={burst} onChange={setBurst} />}
      </Field>
      <p className="small soft">More is answered 429, and the sender is told when to come again.</p>
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}
