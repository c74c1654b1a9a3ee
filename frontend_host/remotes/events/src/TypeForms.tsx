import type { ContractCheck, EventContract } from "@portal/api-client";
import { ApiError } from "@portal/api-client";
import {
  Button,
  Checkbox,
  Dialog,
  ErrorNotice,
  Field,
  Notice,
  parseJsonObject,
  Select,
  TextArea,
  TextInput,
  useAction,
  useMfe,
} from "@portal/ui";
import { useState } from "react";
import { pretty } from "./format";

const COMPATIBILITIES = [
  { value: "full", label: "Readers and writers of the version before" },
  { value: "backward", label: "What was written before can be read" },
  { value: "forward", label: "Who read the version before reads the new one" },
  { value: "none", label: "Nothing" },
];
const FIRST_SCHEMA = {
  type: "object",
  properties: { id: { type: "integer" }, total: { type: "number" } },
  required: ["id"],
};

export function compatibilityLabel(value: string): string {
  return COMPATIBILITIES.find((one) => one.value === value)?.label ?? value;
}

function SchemaField({
  text,
  onChange,
  error,
}: {
  text: string;
  onChange: (text: string) => void;
  error?: string | null;
}) {
  const parsed = parseJsonObject(text);
  return (
    <Field label="Schema" hint="JSON Schema (2020-12) of the event's data." error={parsed.fault ?? error} required>
      {(ids) => <TextArea {...ids} className="mono" rows={14} value={text} onChange={onChange} />}
    </Field>
  );
}

function problemsOf(error: unknown): (path: string) => string | null {
  return (path) =>
    error instanceof ApiError
      ? (error.problems.find((one) => one.path === path || one.path.startsWith(`${path}.`))?.message ?? null)
      : null;
}

/** A new type with its first version. */
export function TypeForm({ onClose, onSaved }: { onClose: () => void; onSaved: (row: EventContract) => void }) {
  const { api } = useMfe();
  const [type, setType] = useState("");
  const [description, setDescription] = useState("");
  const [compatibility, setCompatibility] = useState("full");
  const [text, setText] = useState(pretty(FIRST_SCHEMA));
  const action = useAction();
  const problem = problemsOf(action.error);
  const schema = parseJsonObject(text).value;
  const complete = type.trim() !== "" && schema !== null;
  const submit = async () => {
    if (!complete) return;
    const made = await action.run(() =>
      api.eventContracts.create({ type: type.trim(), description: description.trim(), compatibility, schema }),
    );
    if (made) onSaved(made);
  };
  return (
    <Dialog
      title="New type of event"
      wide
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" busy={action.busy} disabled={!complete}>
            Define
          </Button>
        </>
      }
    >
      <Field label="Type" hint="As in com.acme.invoice.paid.v1" error={problem("type")} required>
        {(ids) => <TextInput {...ids} className="mono" value={type} onChange={setType} />}
      </Field>
      <Field label="Meaning" required={false}>
        {(ids) => <TextInput {...ids} value={description} onChange={setDescription} />}
      </Field>
      <Field label="What later versions must keep">
        {(ids) => <Select {...ids} value={compatibility} onChange={setCompatibility} options={COMPATIBILITIES} />}
      </Field>
      <SchemaField text={text} onChange={setText} error={problem("schema")} />
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}

/** The next version: looked at first, with who would break, then published. */
export function VersionForm({
  contract,
  onClose,
  onSaved,
}: {
  contract: EventContract;
  onClose: () => void;
  onSaved: () => void;
}) {
  const { api, notify } = useMfe();
  const [text, setText] = useState(pretty(contract.schema));
  const [note, setNote] = useState("");
  const [accepted, setAccepted] = useState(false);
  const [check, setCheck] = useState<{ of: string; result: ContractCheck } | null>(null);
  const looking = useAction();
  const action = useAction();
  const schema = parseJsonObject(text).value;
  const valid = schema !== null;
  const current = check?.of === text ? check.result : null;
  const look = async () => {
    if (!valid) return;
    const result = await looking.run(() => api.eventContracts.check(contract.id, schema));
    if (result) setCheck({ of: text, result });
  };
  const submit = async () => {
    if (!current) return look();
    if (!valid || (!current.compatible && !accepted)) return;
    const made = await action.run(() =>
      api.eventContracts.publish(contract.id, { schema, note: note.trim(), accept_breaking: accepted }),
    );
    if (!made) return;
    notify({ tone: "ok", title: `Version ${made.number} of ${contract.type} is published.` });
    onSaved();
  };
  return (
    <Dialog
      title={`Version ${contract.version + 1} of ${contract.type}`}
      wide
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button busy={looking.busy} disabled={!valid} onClick={() => void look()}>
            Check
          </Button>
          <Button
            type="submit"
            tone="primary"
            busy={action.busy}
            disabled={!current || !valid || (!current.compatible && !accepted)}
            title={current ? undefined : "Check the schema first"}
          >
            Publish
          </Button>
        </>
      }
    >
      <SchemaField text={text} onChange={setText} error={problemsOf(looking.error ?? action.error)("schema")} />
      <Field label="Note" hint="What changed, for those who read the events." required={false}>
        {(ids) => <TextInput {...ids} value={note} onChange={setNote} />}
      </Field>
      {current && <CheckResult result={current} />}
      {current && !current.compatible && (
        <Checkbox label="Publish although it breaks what was promised" checked={accepted} onChange={setAccepted} />
      )}
      <ErrorNotice error={looking.error ?? action.error} />
    </Dialog>
  );
}

function CheckResult({ result }: { result: ContractCheck }) {
  const tone = result.compatible ? "ok" : "bad";
  const title = result.compatible
    ? result.changes.length
      ? "Nobody breaks."
      : "Nothing changes."
    : "This breaks what was promised.";
  return (
    <Notice tone={tone} title={title}>
      {result.changes.length > 0 && (
        <ul className="sample">
          {result.changes.map((change) => (
            <li key={`${change.path} ${change.message}`}>
              <code>{change.path || "schema"}</code> {change.message}
            </li>
          ))}
        </ul>
      )}
      {result.consumers.length > 0 && (
        <p>
          Used by{" "}
          {result.consumers
            .map((one) => (one.reads.length ? `${one.name} (reads ${one.reads.join(", ")})` : one.name))
            .join(", ")}
          .
        </p>
      )}
    </Notice>
  );
}
