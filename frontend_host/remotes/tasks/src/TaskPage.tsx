import type { HumanTaskDetail } from "@portal/api-client";
import { ApiError } from "@portal/api-client";
import {
  Button,
  Card,
  Checkbox,
  Dialog,
  ErrorNotice,
  Facts,
  Field,
  Link,
  Notice,
  Page,
  ResourceView,
  Select,
  StatusBadge,
  TextArea,
  TextInput,
  Time,
  useAction,
  useCan,
  useMfe,
  useResource,
} from "@portal/ui";
import { type FormEvent, useState } from "react";
import { type FormField, readForm, type Typed, toAnswer } from "./form";

export function TaskPage({ id }: { id: string }) {
  const { api } = useMfe();
  const task = useResource(`task ${id}`, (call) => api.tasks.get(id, call), { live: [`task:${id}`] });
  return (
    <Page
      title={task.data?.title ?? "Task"}
      back={{ to: "/tasks", label: "Tasks" }}
      lead={
        task.data && (
          <span className="row wrap gap-2">
            <StatusBadge status={task.data.status} />
            <span>{task.data.flow.name}</span>
            <Link to={`/runs/${task.data.run}`}>Open the run</Link>
          </span>
        )
      }
      actions={task.data && <TaskActions task={task.data} onChanged={task.set} />}
    >
      <ResourceView resource={task}>{(data) => <TaskBody task={data} onChanged={task.set} />}</ResourceView>
    </Page>
  );
}

function TaskActions({ task, onChanged }: { task: HumanTaskDetail; onChanged: (task: HumanTaskDetail) => void }) {
  const { api } = useMfe();
  const action = useAction({ toast: true });
  const [delegating, setDelegating] = useState(false);
  if (!task.may_answer) return null;
  const act = async (verb: "claim" | "release") => {
    const changed = await action.run(() => api.tasks[verb](task.id));
    if (changed) onChanged(changed);
  };
  return (
    <>
      {task.claimed_by ? (
        <Button busy={action.busy} onClick={() => act("release")}>
          Give back
        </Button>
      ) : (
        task.required === 1 && (
          <Button busy={action.busy} title="Nobody else answers it meanwhile" onClick={() => act("claim")}>
            Take it
          </Button>
        )
      )}
      {task.delegation && <Button onClick={() => setDelegating(true)}>Delegate</Button>}
      {delegating && <DelegateDialog task={task} onClose={() => setDelegating(false)} onChanged={onChanged} />}
    </>
  );
}

function DelegateDialog({
  task,
  onClose,
  onChanged,
}: {
  task: HumanTaskDetail;
  onClose: () => void;
  onChanged: (task: HumanTaskDetail) => void;
}) {
  const { api, notify } = useMfe();
  const maySee = useCan("member:view");
  const members = useResource("members", (call) => api.members.list({ limit: 200 }, call), { enabled: maySee });
  const [to, setTo] = useState("");
  const action = useAction();
  const submit = async () => {
    const changed = to && (await action.run(() => api.tasks.delegate(task.id, to)));
    if (!changed) return;
    notify({ tone: "ok", title: "Somebody else will answer." });
    onChanged(changed);
    onClose();
  };
  return (
    <Dialog
      title="Let somebody else answer"
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" busy={action.busy} disabled={!to}>
            Delegate
          </Button>
        </>
      }
    >
      {maySee ? (
        <Field label="To">
          {(ids) => (
            <Select
              {...ids}
              value={to}
              onChange={setTo}
              options={[
                { value: "", label: "Choose a member…" },
                ...(members.data?.results ?? []).map((one) => ({ value: one.id, label: one.name || one.email })),
              ]}
            />
          )}
        </Field>
      ) : (
        <Notice tone="warn" title="You may not see the members of your organisation.">
          Ask somebody who may to delegate for you.
        </Notice>
      )}
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}

function TaskBody({ task, onChanged }: { task: HumanTaskDetail; onChanged: (task: HumanTaskDetail) => void }) {
  const shown = Object.entries(task.shown);
  return (
    <div className="task-columns">
      <div className="stack gap-4">
        {task.description && <p className="break">{task.description}</p>}
        {shown.length > 0 && (
          <Card title="What it is about">
            <div className="shown">
              <Facts items={shown.map(([name, value]) => [name, showValue(value)])} />
            </div>
          </Card>
        )}
        {task.status === "open" && task.may_answer && <AnswerForm task={task} onChanged={onChanged} />}
        {task.status === "open" && !task.may_answer && (
          <Notice title="It does not wait for you.">
            {task.no_self_approval
              ? "Other people are asked, or you started the run: who starts it may not answer."
              : "Other people are asked, somebody has taken it, or you have answered."}
          </Notice>
        )}
        <Answers task={task} />
      </div>
      <Card title="About this task">
        <Facts
          items={[
            ["Asked of", askedOf(task)],
            ["Taken by", task.claimed_by && (task.claimed_by.name || task.claimed_by.email)],
            ["Answers", `${task.answers.length} of ${task.required}`],
            ["Due", task.due_at && <Time key="d" value={task.due_at} />],
            ["Asked", <Time key="c" value={task.created_at} />],
            ["Ended", task.ended_at && <Time key="e" value={task.ended_at} />],
            ["Step", <code key="p">{task.path}</code>],
          ]}
        />
      </Card>
    </div>
  );
}

function askedOf(task: HumanTaskDetail): string {
  const people = task.people.map((one) => one.name || one.email).join(", ");
  return people || (task.role ? `whoever is ${task.role}` : "nobody");
}

function showValue(value: unknown): string {
  return typeof value === "object" && value !== null ? JSON.stringify(value, null, 2) : String(value ?? "–");
}

function Answers({ task }: { task: HumanTaskDetail }) {
  if (!task.answers.length) return null;
  return (
    <Card title="Answers">
      <div className="stack gap-4">
        {task.answers.map((answer) => (
          <div key={answer.person}>
            <div className="small soft">
              {answer.person_name} · <Time value={answer.created_at} />
            </div>
            <Facts items={Object.entries(answer.values).map(([name, value]) => [name, showValue(value)])} />
          </div>
        ))}
      </div>
    </Card>
  );
}

function AnswerForm({ task, onChanged }: { task: HumanTaskDetail; onChanged: (task: HumanTaskDetail) => void }) {
  const { api, notify } = useMfe();
  const fields = readForm(task.form);
  const [typed, setTyped] = useState<Typed>(() =>
    Object.fromEntries(
      fields.flatMap((field) => (field.start === undefined ? [] : [[field.name, field.start] as const])),
    ),
  );
  const [tried, setTried] = useState(false);
  const action = useAction();
  const { answer, faults } = toAnswer(fields, typed);
  const told = (name: string) =>
    action.error instanceof ApiError
      ? action.error.problems.find((one) => one.path === `answer.${name}` || one.path.startsWith(`answer.${name}.`))
          ?.message
      : undefined;
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (Object.keys(faults).length) return;
    const changed = await action.run(() => api.tasks.answer(task.id, answer));
    if (!changed) return;
    notify({ tone: "ok", title: changed.status === "open" ? "Your answer is recorded." : "The process goes on." });
    onChanged(changed);
  };
  return (
    <Card title="Your answer">
      <form className="task-form" noValidate onSubmit={submit}>
        {fields.map((field) => (
          <Answer
            key={field.name}
            field={field}
            value={typed[field.name]}
            error={(tried && faults[field.name]) || told(field.name) || null}
            onChange={(value) => setTyped({ ...typed, [field.name]: value })}
          />
        ))}
        <ErrorNotice error={action.error} />
        <div>
          <Button type="submit" tone="primary" busy={action.busy}>
            Answer
          </Button>
        </div>
      </form>
    </Card>
  );
}

interface AnswerProps {
  field: FormField;
  value: string | boolean | undefined;
  error: string | null;
  onChange: (value: string | boolean) => void;
}

function Answer({ field, value, error, onChange }: AnswerProps) {
  if (field.kind === "boolean")
    return <Checkbox label={field.label} hint={field.hint || undefined} checked={value === true} onChange={onChange} />;
  const text = String(value ?? "");
  return (
    <Field label={field.label} hint={field.hint || undefined} error={error} required={field.required}>
      {(ids) => {
        if (field.kind === "choice")
          return (
            <Select
              {...ids}
              value={text}
              onChange={onChange}
              options={[
                { value: "", label: "Choose…" },
                ...field.choices.map((one, index) => ({ value: String(index), label: String(one) })),
              ]}
            />
          );
        if (field.kind === "long") return <TextArea {...ids} rows={5} value={text} onChange={onChange} />;
        return (
          <TextInput
            {...ids}
            type={field.inputType}
            inputMode={field.kind === "number" ? "decimal" : undefined}
            value={text}
            onChange={onChange}
          />
        );
      }}
    </Field>
  );
}
