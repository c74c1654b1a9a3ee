import { createDefinition, toJson } from "@portal/flow-model";
import { Button, Dialog, ErrorNotice, Field, Select, TextInput, useAction, useMfe, useResource } from "@portal/ui";
import { useState } from "react";
import { EntityPicker, EntityPickerSkeleton } from "./EntityPicker";

interface CreateFlowDialogProps {
  connection: string | null;
  entity: string | null;
  onClose: () => void;
}

/** `public.sales_invoices` and `in/Sales Invoices.csv` both become `sales_invoices`. */
export function tableNameOf(entity: string): string {
  const last = entity
    .split("/")
    .at(-1)!
    .replace(/\.(csv|tsv|txt|ndjson|jsonl|json|parquet|xlsx)(\.gz|\.zst)?$/i, "");
  return last
    .split(".")
    .at(-1)!
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "_")
    .replace(/^_+|_+$/g, "");
}

function titleOf(name: string): string {
  return name.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());
}

export function CreateFlowDialog({ connection, entity, onClose }: CreateFlowDialogProps) {
  const { api, navigate } = useMfe();
  const connections = useResource("connections", (call) => api.connections.list({ limit: 200 }, call));
  const [slot, setSlot] = useState(connection ?? "");
  const [source, setSource] = useState(entity ?? "");
  const [name, setName] = useState(entity ? titleOf(tableNameOf(entity)) : "");
  const [target, setTarget] = useState(entity ? tableNameOf(entity) : "");
  const [targetSlot, setTargetSlot] = useState("warehouse");
  const action = useAction();
  const list = connections.data?.results ?? [];
  const chosen = list.find((one) => one.slug === slot);
  const pick = (picked: string) => {
    setSource(picked);
    const table = tableNameOf(picked);
    if (!name || name === titleOf(tableNameOf(source))) setName(titleOf(table));
    if (!target || target === tableNameOf(source)) setTarget(table);
  };
  const submit = async () => {
    const draft = toJson(
      createDefinition({ connection: slot, entity: source }, { connection: targetSlot, entity: target.trim() }),
    );
    const flow = await action.run(() => api.flows.create({ name: name.trim(), draft }));
    if (flow) navigate(`/flows/${flow.id}?suggest=1`);
  };
  // Until the connections have arrived, the list of sources is empty and the browser would refuse the form.
  const complete = Boolean(chosen && source && name.trim() && target.trim());
  return (
    <Dialog
      title="New flow"
      lead="Choose what to read; the mapping is suggested from its columns."
      wide
      onClose={onClose}
      onSubmit={() => {
        if (complete) void submit();
      }}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" busy={action.busy} disabled={!complete}>
            Create
          </Button>
        </>
      }
    >
      <div className="create-grid">
        <div className="stack gap-3">
          <Field label="Source" required>
            {(ids) => (
              <Select
                {...ids}
                value={slot}
                onChange={(value) => {
                  setSlot(value);
                  setSource("");
                }}
                options={[
                  { value: "", label: "Choose a connection…" },
                  ...list.map((one) => ({ value: one.slug, label: one.name })),
                ]}
              />
            )}
          </Field>
          {chosen ? (
            <EntityPicker key={chosen.id} connection={chosen} value={source} onChange={pick} />
          ) : (
            slot && connections.loading && <EntityPickerSkeleton />
          )}
        </div>
        <div className="stack gap-3">
          <Field label="Target" required>
            {(ids) => (
              <Select
                {...ids}
                value={targetSlot}
                onChange={setTargetSlot}
                options={list.map((one) => ({ value: one.slug, label: one.name }))}
              />
            )}
          </Field>
          <Field label="Target table" hint="Made by the first run when it does not exist." required>
            {(ids) => <TextInput {...ids} className="mono" value={target} onChange={setTarget} />}
          </Field>
          <Field label="Name" required>
            {(ids) => <TextInput {...ids} value={name} onChange={setName} />}
          </Field>
        </div>
      </div>
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}
