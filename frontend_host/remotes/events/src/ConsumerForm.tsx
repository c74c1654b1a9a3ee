import type { Consumer } from "@portal/api-client";
import { ApiError } from "@portal/api-client";
import {
  Button,
  Dialog,
  ErrorNotice,
  Field,
  ResourceView,
  Select,
  TextInput,
  useAction,
  useMfe,
  useResource,
} from "@portal/ui";
import { useState } from "react";

const FORMATS = [
  { value: "json", label: "JSON" },
  { value: "cloudevents", label: "CloudEvents 1.0, structured" },
  { value: "text", label: "Text" },
];
const STARTS = [
  { value: "new", label: "With new messages" },
  { value: "all", label: "With what is there already" },
];
const SOURCE_HINTS: Record<string, string> = {
  amqp: "The queue's name.",
  nats: "The stream's name, or STREAM/subject.> for a part of it.",
  kafka: "The topic's name.",
  mqtt: "A topic or a filter: sensors/+/temperature",
};

/** Connections that can be consumed, and the environments. */
function useChoices() {
  const { api } = useMfe();
  return useResource("consumer choices", async (call) => {
    const [connectors, connections, environments] = await Promise.all([
      api.connectors(call),
      api.connections.list({ limit: 200 }, call),
      api.environments.list(call),
    ]);
    const able = new Set(connectors.results.filter((one) => one.capabilities.consume).map((one) => one.id));
    return {
      connections: connections.results.filter((one) => able.has(one.connector)),
      environments: environments.results,
    };
  });
}

interface FormProps {
  onClose: () => void;
  onSaved: (row: Consumer) => void;
}

/** A new consumer. */
export function ConsumerForm({ onClose, onSaved }: FormProps) {
  const { api } = useMfe();
  const choices = useChoices();
  const [name, setName] = useState("");
  const [chosen, setChosen] = useState("");
  const [place, setPlace] = useState("");
  const [source, setSource] = useState("");
  const [start, setStart] = useState("new");
  const [format, setFormat] = useState("json");
  const [type, setType] = useState("");
  const [filter, setFilter] = useState("");
  const [key, setKey] = useState("");
  const action = useAction();
  const connection = chosen || (choices.data?.connections[0]?.slug ?? "");
  const environment = place || (choices.data?.environments[0]?.slug ?? "");
  const kind = choices.data?.connections.find((one) => one.slug === connection)?.connector ?? "";
  const problem = (path: string) =>
    action.error instanceof ApiError ? (action.error.problems.find((one) => one.path === path)?.message ?? null) : null;
  const submit = async () => {
    const made = await action.run(() =>
      api.consumers.create({
        name: name.trim(),
        environment,
        connection,
        source: source.trim(),
        from_start: start === "all",
        format,
        ...(type.trim() ? { event_type: type.trim() } : {}),
        filter: filter.trim(),
        key_expression: key.trim(),
      }),
    );
    if (made) onSaved(made);
  };
  return (
    <Dialog
      title="New consumer"
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
            disabled={!name.trim() || !source.trim() || !connection}
          >
            Create
          </Button>
        </>
      }
    >
      <ResourceView resource={choices}>
        {({ connections, environments }) =>
          connections.length === 0 ? (
            <p className="soft">There is no connection to a message broker yet. Make one under Connections first.</p>
          ) : (
            <>
              <Field label="Name" error={problem("name")} required>
                {(ids) => <TextInput {...ids} maxLength={100} value={name} onChange={setName} />}
              </Field>
              <div className="two">
                <Field label="Connection" error={problem("connection")}>
                  {(ids) => (
                    <Select
                      {...ids}
                      value={connection}
                      onChange={setChosen}
                      options={connections.map((one) => ({ value: one.slug, label: one.name }))}
                    />
                  )}
                </Field>
                <Field label="Environment" hint="Whose connection is meant.">
                  {(ids) => (
                    <Select
                      {...ids}
                      value={environment}
                      onChange={setPlace}
                      options={environments.map((one) => ({ value: one.slug, label: one.name }))}
                    />
                  )}
                </Field>
              </div>
              <Field label="Takes" hint={SOURCE_HINTS[kind]} error={problem("source")} required>
                {(ids) => <TextInput {...ids} maxLength={300} value={source} onChange={setSource} />}
              </Field>
              <div className="two">
                <Field label="Begins">
                  {(ids) => <Select {...ids} value={start} onChange={setStart} options={STARTS} />}
                </Field>
                <Field label="Messages are" error={problem("format")}>
                  {(ids) => <Select {...ids} value={format} onChange={setFormat} options={FORMATS} />}
                </Field>
              </div>
              <Field
                label="Event type"
                hint="message.received.v1 when empty, or one of your own whose schema the body has to fit."
                error={problem("event_type")}
                required={false}
              >
                {(ids) => <TextInput {...ids} value={type} onChange={setType} />}
              </Field>
              <Field
                label="Only messages with"
                hint="body->>'status' = 'paid', for example; source, key and headers too."
                error={problem("filter")}
                required={false}
              >
                {(ids) => <TextInput {...ids} value={filter} onChange={setFilter} />}
              </Field>
              <Field
                label="Order by"
                hint="body->>'customer', for example: events of one key keep their order."
                error={problem("key_expression")}
                required={false}
              >
                {(ids) => <TextInput {...ids} value={key} onChange={setKey} />}
              </Field>
              <ErrorNotice error={action.error} />
            </>
          )
        }
      </ResourceView>
    </Dialog>
  );
}
