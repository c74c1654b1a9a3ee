import type { EventSubscription } from "@portal/api-client";
import {
  Button,
  Card,
  Facts,
  formatCount,
  Notice,
  Page,
  ResourceView,
  StatusBadge,
  Tabs,
  Time,
  useAction,
  useCan,
  useConfirm,
  useMfe,
  useQueryParams,
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { DeliveryList } from "./DeliveryList";
import { shortType } from "./format";
import { ReplayDialog } from "./ReplayDialog";
import { SecretDialog } from "./SecretDialog";
import { SubscriptionForm } from "./SubscriptionForm";
import { healthOf } from "./SubscriptionsSection";

const DAY_S = 86_400;
const STATUSES = [
  { key: "all", label: "All" },
  { key: "delivered", label: "Delivered" },
  { key: "failed", label: "Retrying" },
  { key: "pending", label: "Waiting" },
  { key: "dead", label: "Dead letters" },
] as const;

/** One webhook: health, what can be done with it, and its deliveries. */
export function SubscriptionPage({ id }: { id: string }) {
  const { api } = useMfe();
  const row = useResource(`subscription ${id}`, (call) => api.subscriptions.get(id, call), {
    live: ["subscriptions"],
  });
  return (
    <Page
      title={row.data?.name ?? "Webhook"}
      back={{ to: "/events/webhooks", label: "Webhooks out" }}
      lead={row.data && <StatusBadge status={healthOf(row.data)} />}
    >
      <ResourceView resource={row}>{(data) => <Body row={data} onChanged={row.reload} />}</ResourceView>
    </Page>
  );
}

function Body({ row, onChanged }: { row: EventSubscription; onChanged: () => void }) {
  const { api, notify, navigate, locale } = useMfe();
  const mayEdit = useCan("webhook:edit");
  const mayRotate = useCan("secret:write") && mayEdit;
  const mayReplay = useCan("event:replay");
  const [params, setParams] = useQueryParams();
  const [dialog, setDialog] = useState<"edit" | "replay" | null>(null);
  const [secret, setSecret] = useState<string | null>(null);
  const [selected, setSelected] = useState<Set<string>>(new Set());
  const [round, setRound] = useState(0);
  const action = useAction({ toast: true });
  const confirm = useConfirm();
  const wanted = params.get("status");
  const status = STATUSES.find((one) => one.key === wanted)?.key ?? "all";
  const refresh = () => {
    setSelected(new Set());
    setRound((value) => value + 1);
    onChanged();
  };
  const act = async (work: () => Promise<unknown>, title: string) => {
    const done = await action.run(async () => {
      await work();
      return true;
    });
    if (!done) return;
    notify({ tone: "ok", title });
    refresh();
  };
  const pause = async () => {
    const reason = await confirm({
      title: `Pause ${row.name}?`,
      text: "Deliveries are collected and sent when you resume.",
      action: "Pause",
      reason: { label: "Why", required: false },
    });
    if (reason !== null) await act(() => api.subscriptions.pause(row.id, reason), "Paused.");
  };
  const rotate = async () => {
    const answer = await confirm({
      title: "Make a new signing secret?",
      text: "For one day every delivery carries both signatures; then the old secret ends.",
      action: "Rotate",
    });
    if (answer === null) return;
    const made = await action.run(() => api.subscriptions.rotate(row.id, DAY_S));
    if (!made) return;
    setSecret(made.secret);
    refresh();
  };
  const archive = async () => {
    const answer = await confirm({
      title: `Archive ${row.name}?`,
      text: "What waits is given up, the secret is deleted, the history stays. This cannot be undone.",
      action: "Archive",
      danger: true,
    });
    if (answer === null) return;
    const done = await action.run(async () => {
      await api.subscriptions.archive(row.id);
      return true;
    });
    if (done) navigate("/events/webhooks");
  };
  const discard = async () => {
    const reason = await confirm({
      title: `Give up ${formatCount(selected.size, locale)} dead letters?`,
      text: "They are not sent any more. Their events stay in the log.",
      action: "Give up",
      danger: true,
      reason: { label: "Why", required: true },
    });
    if (reason !== null) await act(() => api.subscriptions.discard(row.id, [...selected], reason), "Given up.");
  };
  const { health } = row;
  return (
    <>
      {row.status_reason && (
        <Notice tone={row.status === "disabled" ? "bad" : "warn"} title={row.status_reason}>
          {row.disabled_position !== null &&
            row.status === "disabled" &&
            "Nothing was collected since. Resume, then replay what is missing."}
        </Notice>
      )}
      <div className="row wrap">
        {mayEdit && row.status === "active" && (
          <>
            <Button
              icon="run"
              busy={action.busy}
              onClick={() => act(() => api.subscriptions.test(row.id), "The test event is on its way.")}
            >
              Send a test
            </Button>
            <Button icon="stop" onClick={pause}>
              Pause
            </Button>
          </>
        )}
        {mayEdit && row.status !== "active" && (
          <Button
            tone="primary"
            icon="run"
            busy={action.busy}
            onClick={() => act(() => api.subscriptions.resume(row.id), "Resumed.")}
          >
            Resume
          </Button>
        )}
        {mayEdit && (
          <Button icon="edit" onClick={() => setDialog("edit")}>
            Change
          </Button>
        )}
        {mayRotate && (
          <Button icon="key" onClick={rotate}>
            Rotate the secret
          </Button>
        )}
        {mayReplay && (
          <Button icon="history" onClick={() => setDialog("replay")}>
            Replay…
          </Button>
        )}
        {mayRotate && (
          <Button tone="danger" icon="trash" onClick={archive}>
            Archive
          </Button>
        )}
      </div>
      <div className="two">
        <Card title="Health">
          <Facts
            items={[
              ["Delivered", formatCount(health.delivered, locale)],
              ["Waiting", formatCount(health.waiting, locale)],
              ["Retrying", formatCount(health.retrying, locale)],
              ["Dead letters", formatCount(health.dead, locale)],
              ["Last success", <Time key="s" value={health.last_success_at} relative />],
              ["Failing since", health.failing_since && <Time key="f" value={health.failing_since} relative />],
              ["Last error", health.last_error],
              ["Held until", health.hold_until && <Time key="h" value={health.hold_until} seconds />],
            ]}
          />
        </Card>
        <Card title="What and where">
          <Facts
            items={[
              [
                "Address",
                <span key="u" className="break">
                  {row.config.url}
                </span>,
              ],
              ["Types", row.types.map(shortType).join(", ")],
              ["Only when", row.filter && <code key="w">{row.filter}</code>],
              ["Order", row.ordered ? row.key_expression || "by the event's key" : "none"],
              ["A dead letter", row.ordered && (row.block_on_dead ? "holds back its key" : "lets its key go on")],
              [
                "Secrets",
                row.signing_keys.map((key) => (
                  <div key={key.created_at}>
                    of <Time value={key.created_at} />
                    {key.expires_at && (
                      <>
                        , until <Time value={key.expires_at} />
                      </>
                    )}
                  </div>
                )),
              ],
            ]}
          />
        </Card>
      </div>
      <Card
        title="Deliveries"
        flush
        actions={
          <Button small icon="refresh" onClick={refresh}>
            Read again
          </Button>
        }
      >
        <div className="delivery-tools">
          <Tabs
            label="Status"
            kind="segmented"
            items={STATUSES.map((one) =>
              one.key === "dead" ? { ...one, count: health.dead, tone: "bad" as const } : one,
            )}
            value={status}
            onChange={(next) => {
              setSelected(new Set());
              setParams({ status: next === "all" ? null : next });
            }}
          />
          {mayReplay && status === "dead" && health.dead > 0 && (
            <div className="row push">
              {selected.size > 0 && (
                <Button small tone="danger" busy={action.busy} onClick={discard}>
                  Give up {formatCount(selected.size, locale)}
                </Button>
              )}
              <Button
                small
                tone="primary"
                busy={action.busy}
                onClick={() =>
                  act(
                    () => api.subscriptions.redrive(row.id, selected.size ? [...selected] : undefined),
                    "The dead letters are due again.",
                  )
                }
              >
                {selected.size ? `Send ${formatCount(selected.size, locale)} again` : "Send all again"}
              </Button>
            </div>
          )}
        </div>
        <DeliveryList
          key={round}
          filter={{ subscription: row.id, status: status === "all" ? null : status }}
          selected={selected}
          onSelect={mayReplay && status === "dead" ? setSelected : undefined}
          onChanged={onChanged}
        />
      </Card>
      {dialog === "edit" && (
        <SubscriptionForm
          former={row}
          onClose={() => setDialog(null)}
          onSaved={() => {
            setDialog(null);
            refresh();
          }}
        />
      )}
      {dialog === "replay" && (
        <ReplayDialog
          subscription={row.id}
          range={row.disabled_position !== null ? { first_position: row.disabled_position + 1 } : {}}
          onClose={() => {
            setDialog(null);
            refresh();
          }}
        />
      )}
      {secret && <SecretDialog secret={secret} onClose={() => setSecret(null)} />}
    </>
  );
}
