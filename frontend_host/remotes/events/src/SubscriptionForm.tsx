import type { EventSubscription, EventSubscriptionInput } from "@portal/api-client";
import { ApiError } from "@portal/api-client";
import { Button, Checkbox, Dialog, ErrorNotice, Field, TextArea, TextInput, useAction, useMfe } from "@portal/ui";
import { useState } from "react";
import { shortType, toTypes } from "./format";

interface SubscriptionFormProps {
  former?: EventSubscription;
  onClose: () => void;
  /** With the secret of a new subscription. */
  onSaved: (row: EventSubscription, secret: string | null) => void;
}

/** A new subscription, or changes of one. */
export function SubscriptionForm({ former, onClose, onSaved }: SubscriptionFormProps) {
  const { api } = useMfe();
  const [name, setName] = useState(former?.name ?? "");
  const [url, setUrl] = useState(former?.config.url ?? "");
  const [types, setTypes] = useState((former?.types ?? ["*"]).map(shortType).join(", "));
  const [filter, setFilter] = useState(former?.filter ?? "");
  const [ordered, setOrdered] = useState(former?.ordered ?? true);
  const [key, setKey] = useState(former?.key_expression ?? "");
  const [block, setBlock] = useState(former?.block_on_dead ?? false);
  const action = useAction();
  const problem = (path: string) =>
    action.error instanceof ApiError
      ? (action.error.problems.find((one) => one.path === path || one.path.startsWith(`${path}[`))?.message ?? null)
      : null;
  const submit = async () => {
    const body: EventSubscriptionInput = {
      name: name.trim(),
      description: former?.description ?? "",
      types: toTypes(types),
      filter: filter.trim(),
      ordered,
      key_expression: ordered ? key.trim() : "",
      block_on_dead: ordered && block,
      config: { url: url.trim(), headers: former?.config.headers ?? {} },
    };
    if (former) {
      const saved = await action.run(() => api.subscriptions.update(former.id, body));
      if (saved) onSaved(saved, null);
    } else {
      const made = await action.run(() => api.subscriptions.create(body));
      if (made) onSaved(made, made.secret);
    }
  };
  return (
    <Dialog
      title={former ? "Change the webhook" : "New webhook"}
      wide
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" busy={action.busy} disabled={!name.trim() || !url.trim()}>
            {former ? "Store" : "Create"}
          </Button>
        </>
      }
    >
      <Field label="Name" error={problem("name")} required>
        {(ids) => <TextInput {...ids} maxLength={100} value={name} onChange={setName} />}
      </Field>
      <Field
        label="Address"
        hint="Takes a POST and answers 2xx within 15 seconds."
        error={problem("config.url")}
        required
      >
        {(ids) => <TextInput {...ids} type="url" placeholder="https://" value={url} onChange={setUrl} />}
      </Field>
      <Field label="Types" hint="run.completed.v1, quarantine.*, or * for all." error={problem("types")}>
        {(ids) => <TextInput {...ids} value={types} onChange={setTypes} />}
      </Field>
      <Field
        label="Only when"
        hint={
          <>
            A condition over the event, such as <code>data-&gt;&gt;'status' = 'failed'</code>
          </>
        }
        error={problem("filter")}
        required={false}
      >
        {(ids) => <TextArea {...ids} rows={2} value={filter} onChange={setFilter} />}
      </Field>
      <Checkbox
        label="In order"
        hint="Events of one key wait for each other."
        checked={ordered}
        onChange={setOrdered}
      />
      {ordered && (
        <>
          <Field
            label="Key"
            hint="An expression; the event's own key when empty."
            error={problem("key_expression")}
            required={false}
          >
            {(ids) => <TextInput {...ids} value={key} onChange={setKey} />}
          </Field>
          <Checkbox
            label="A dead letter holds back its key"
            hint="Until somebody sends it again or gives it up."
            checked={block}
            onChange={setBlock}
          />
        </>
      )}
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}
