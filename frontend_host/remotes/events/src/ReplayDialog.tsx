import type { ReplayPreview, ReplayRange } from "@portal/api-client";
import {
  Button,
  Dialog,
  ErrorNotice,
  Field,
  formatCount,
  Notice,
  Select,
  TextInput,
  useAction,
  useMfe,
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { shortType, toInstant, toTypes } from "./format";

interface ReplayDialogProps {
  range: ReplayRange;
  subscription?: string;
  onClose: () => void;
}

/** Chooses a range, shows what it holds, and only then delivers exactly that again. */
export function ReplayDialog({ range, subscription, onClose }: ReplayDialogProps) {
  const { api, notify, locale } = useMfe();
  const known = useResource("replay targets", (call) => api.subscriptions.list({ limit: 200 }, call));
  const [target, setTarget] = useState(subscription ?? "");
  const [since, setSince] = useState("");
  const [until, setUntil] = useState("");
  const [first, setFirst] = useState(range.first_position ? String(range.first_position) : "");
  const [types, setTypes] = useState((range.types ?? []).map(shortType).join(", "));
  const [preview, setPreview] = useState<ReplayPreview | null>(null);
  const action = useAction();
  const change = (set: (value: string) => void) => (value: string) => {
    set(value);
    setPreview(null);
  };
  const wanted = (): ReplayRange => {
    const from = toInstant(since) ?? range.since;
    const to = toInstant(until) ?? range.until;
    return {
      ...(from ? { since: from } : {}),
      ...(to ? { until: to } : {}),
      ...(Number(first) > 0 ? { first_position: Number(first) } : {}),
      ...(toTypes(types).length ? { types: toTypes(types) } : {}),
    };
  };
  const submit = async () => {
    if (!preview) {
      const found = await action.run(() => api.subscriptions.previewReplay(target, wanted()));
      if (found) setPreview(found);
      return;
    }
    // The previewed positions are added, so that what happens meanwhile is not part of it.
    const exact = { ...wanted(), first_position: preview.first_position, last_position: preview.last_position };
    const done = await action.run(() => api.subscriptions.replay(target, exact, preview.count));
    if (!done) {
      setPreview(null);
      return;
    }
    notify({ tone: "ok", title: `${formatCount(done.count, locale)} events are delivered again.` });
    onClose();
  };
  return (
    <Dialog
      title="Replay"
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" busy={action.busy} disabled={!target || preview?.count === 0}>
            {preview ? `Deliver ${formatCount(preview.count, locale)} events again` : "Preview"}
          </Button>
        </>
      }
    >
      <Field label="To" required>
        {(ids) => (
          <Select
            {...ids}
            value={target}
            onChange={change(setTarget)}
            options={[
              { value: "", label: "Choose a subscription" },
              ...(known.data?.results ?? []).map((one) => ({ value: one.id, label: one.name })),
            ]}
          />
        )}
      </Field>
      <Field label="From" required={false}>
        {(ids) => <TextInput {...ids} type="datetime-local" value={since} onChange={change(setSince)} />}
      </Field>
      <Field label="To (excluded)" required={false}>
        {(ids) => <TextInput {...ids} type="datetime-local" value={until} onChange={change(setUntil)} />}
      </Field>
      <Field label="First number" required={false}>
        {(ids) => <TextInput {...ids} inputMode="numeric" value={first} onChange={change(setFirst)} />}
      </Field>
      <Field label="Types" hint="Narrows the subscription's own; * matches any part." required={false}>
        {(ids) => <TextInput {...ids} value={types} onChange={change(setTypes)} />}
      </Field>
      {preview && (
        <Notice
          tone={preview.count ? "info" : "warn"}
          title={`${formatCount(preview.count, locale)} of ${formatCount(preview.scanned, locale)} events in the range are wanted.`}
        >
          <ul className="sample">
            {preview.sample.map((event) => (
              <li key={event.id}>
                <code>{shortType(event.type)}</code> {event.subject}
              </li>
            ))}
          </ul>
        </Notice>
      )}
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}
