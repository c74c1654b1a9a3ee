import type { Trigger } from "@portal/api-client";
import {
  Button,
  Card,
  Facts,
  JsonPayload,
  Link,
  Notice,
  Page,
  ResourceView,
  Time,
  useCan,
  useMfe,
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { shortType } from "./draft";
import { FiringList } from "./FiringList";
import { NextFirings } from "./NextFirings";
import { describeWhen, KIND_LABELS, TriggerState } from "./state";
import { TriggerForm } from "./TriggerForm";
import { useTriggerVerbs } from "./useTriggerVerbs";

const CATCH_UP_LABELS: Record<Trigger["catch_up"], string> = {
  skip: "left out",
  once: "made up for with one run",
  all: "made up for each",
};

/** One trigger: when it fires, what it starts, and what came of its firings. */
export function TriggerPage({ id }: { id: string }) {
  const { api } = useMfe();
  const row = useResource(`trigger ${id}`, (call) => api.triggers.get(id, call), { live: [`trigger:${id}`] });
  return (
    <Page
      title={row.data?.name ?? "Trigger"}
      back={{ to: "/triggers", label: "Triggers" }}
      lead={
        row.data && (
          <span className="row wrap gap-2">
            <TriggerState row={row.data} />
            <span>
              starts <Link to={`/flows/${row.data.flow.id}`}>{row.data.flow.name}</Link> in {row.data.environment}
            </span>
          </span>
        )
      }
      actions={row.data && <Actions row={row.data} onChanged={row.set} />}
    >
      <ResourceView resource={row}>{(data) => <Body row={data} />}</ResourceView>
    </Page>
  );
}

function Actions({ row, onChanged }: { row: Trigger; onChanged: (row: Trigger) => void }) {
  const { navigate } = useMfe();
  const mayEdit = useCan("flow:deploy");
  const [editing, setEditing] = useState(false);
  const verbs = useTriggerVerbs(row, onChanged, () => navigate("/triggers"));
  if (!mayEdit) return null;
  return (
    <>
      {row.status === "paused" ? (
        <Button tone="primary" icon="run" busy={verbs.busy} onClick={verbs.resume}>
          Resume
        </Button>
      ) : (
        <Button icon="stop" busy={verbs.busy} onClick={verbs.pause}>
          Pause
        </Button>
      )}
      <Button icon="edit" onClick={() => setEditing(true)}>
        Change
      </Button>
      <Button tone="danger" icon="trash" busy={verbs.busy} onClick={verbs.remove}>
        Delete
      </Button>
      {editing && (
        <TriggerForm
          former={row}
          onClose={() => setEditing(false)}
          onSaved={(stored) => {
            setEditing(false);
            onChanged(stored);
          }}
        />
      )}
    </>
  );
}

function Body({ row }: { row: Trigger }) {
  return (
    <>
      {row.status === "paused" && (
        <Notice tone="warn" title="The trigger is paused.">
          {row.status_reason}
        </Notice>
      )}
      {row.flow_paused && (
        <Notice tone="warn" title="The flow is paused.">
          Firings are left out until it is resumed.
        </Notice>
      )}
      {row.last_error && (
        <Notice tone="bad" title={row.last_error.message}>
          {row.last_error.remedy} <span className="muted mono xs">{row.last_error.code}</span>
        </Notice>
      )}
      <div className="two">
        <Upcoming row={row} />
        <Card title="About this trigger">
          <Facts
            items={[
              ["Kind", KIND_LABELS[row.kind]],
              ["When", describeWhen(row)],
              ["Cron", row.cron && <code key="c">{row.cron}</code>],
              ["Only when", row.filter && <code key="f">{row.filter}</code>],
              [
                "Missed firings",
                row.kind === "schedule"
                  ? `${CATCH_UP_LABELS[row.catch_up]}${row.catch_up === "all" ? `, ${row.catch_up_limit} at most` : ""}`
                  : null,
              ],
              ["Looked last", row.poll_state && <Time key="p" value={row.poll_state.polled_at} seconds />],
              ["Position", row.poll_state?.position && <code key="o">{row.poll_state.position}</code>],
              ["Failed looks", row.poll_state?.failures || null],
              ["Query", row.poll?.query && <code key="q">{row.poll.query}</code>],
              ["Cursor", row.poll?.cursor && <code key="u">{row.poll.cursor}</code>],
              [
                "New rows",
                row.poll &&
                  (row.poll.event_type
                    ? `become events of ${row.poll.event_type}`
                    : `start a run for each ${row.poll.batch_rows}`),
              ],
              ["Last fired", <Time key="l" value={row.last_fired_at} seconds />],
              [
                "Last run",
                row.last_run && (
                  <Link key="r" to={`/runs/${row.last_run}`}>
                    Open the run
                  </Link>
                ),
              ],
              ["Made by", row.created_by_name],
              ["Changed", <Time key="u" value={row.updated_at} />],
              ...Object.entries(row.mapping).map(([name, expression]): [string, React.ReactNode] => [
                `Input ${name}`,
                <code key={name}>{expression}</code>,
              ]),
            ]}
          />
          {Object.keys(row.parameters).length > 0 && (
            <div className="input-json">
              <div className="xs soft" aria-hidden="true">
                Input
              </div>
              <JsonPayload label="Input" value={row.parameters} />
            </div>
          )}
        </Card>
      </div>
      <FiringList trigger={row} />
    </>
  );
}

function Upcoming({ row }: { row: Trigger }) {
  const { api } = useMfe();
  const next = useResource(`next ${row.id} ${row.updated_at}`, (call) => api.triggers.next(row.id, 5, call), {
    enabled: row.cron !== "",
  });
  return (
    <Card title={row.kind === "poll" ? "Next looks" : "Next firings"}>
      {row.kind === "event" ? (
        <p className="soft">When an event of these types is published: {row.types.map(shortType).join(", ")}</p>
      ) : row.status === "active" && row.every_s ? (
        <NextFirings moments={row.next_due_at ? [row.next_due_at] : []} zone="" label="Next looks" />
      ) : row.status === "paused" ? (
        <p className="soft">None while it is paused.</p>
      ) : (
        <ResourceView resource={next}>
          {(data) => <NextFirings moments={data.moments} zone={row.zone} label="Next firings" />}
        </ResourceView>
      )}
    </Card>
  );
}
