import { ApiError } from "@portal/api-client";
import type { ReactNode } from "react";
import { Button } from "../actions/Button";
import type { Resource } from "../hooks/useResource";
import { Icon, type IconName } from "../layout/Icon";

interface EmptyProps {
  icon?: IconName;
  title: string;
  children?: ReactNode;
  actions?: ReactNode;
}

export function Empty({ icon = "inbox", title, children, actions }: EmptyProps) {
  return (
    <div className="state">
      <Icon name={icon} size={30} />
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {actions && <div className="row">{actions}</div>}
    </div>
  );
}

export function toMessage(error: unknown): string {
  return error instanceof Error ? error.message : "Something went wrong.";
}

/** A whole area that could not be read: forbidden, missing, or failed with a way to try again. */
export function ErrorState({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  if (error instanceof ApiError && error.isPermission)
    return (
      <Empty icon="lock" title="You may not see this">
        {error.message} Ask an administrator of your organisation for access.
      </Empty>
    );
  if (error instanceof ApiError && error.isMissing)
    return (
      <Empty icon="search" title="Not found">
        It was removed, or it was never yours to see.
      </Empty>
    );
  const remedy = error instanceof ApiError ? error.remedy : null;
  const requestId = error instanceof ApiError ? error.requestId : null;
  return (
    <Empty
      icon="error"
      title="This could not be loaded"
      actions={
        onRetry && (
          <Button icon="refresh" onClick={onRetry}>
            Try again
          </Button>
        )
      }
    >
      {toMessage(error)} {remedy}
      {requestId && <span className="muted"> Report id {requestId}.</span>}
    </Empty>
  );
}

interface NoticeProps {
  tone?: "ok" | "warn" | "bad" | "info";
  title?: ReactNode;
  children?: ReactNode;
  actions?: ReactNode;
}

const NOTICE_ICONS: Record<string, IconName> = { ok: "check", warn: "alert", bad: "error", info: "info" };

export function Notice({ tone = "info", title, children, actions }: NoticeProps) {
  return (
    <div className={`notice ${tone}`} role={tone === "bad" ? "alert" : "status"}>
      <Icon name={NOTICE_ICONS[tone]!} />
      <div>
        {title && <strong>{title}</strong>} {children}
      </div>
      {actions}
    </div>
  );
}

/** An error of an action, with what to do about it. */
export function ErrorNotice({ error }: { error: unknown }) {
  if (!error) return null;
  const problems = error instanceof ApiError ? error.problems : [];
  return (
    <Notice tone="bad" title={toMessage(error)}>
      {error instanceof ApiError && error.remedy}
      {problems.length > 0 && (
        <ul>
          {problems.slice(0, 6).map((problem, at) => (
            <li key={at}>{problem.message}</li>
          ))}
        </ul>
      )}
    </Notice>
  );
}

export function Skeleton({ lines = 3, height = 12 }: { lines?: number; height?: number }) {
  return (
    <div className="stack gap-3" aria-hidden="true">
      {Array.from({ length: lines }, (_, at) => (
        <div key={at} className="skeleton" style={{ width: `${92 - ((at * 23) % 40)}%`, height }} />
      ))}
    </div>
  );
}

export function TableSkeleton({ rows = 6 }: { rows?: number }) {
  return (
    <div role="status" aria-label="Loading" style={{ padding: "var(--space-4)" }}>
      <Skeleton lines={rows} height={18} />
    </div>
  );
}

interface ResourceViewProps<T> {
  resource: Resource<T>;
  skeleton?: ReactNode;
  children: (data: T) => ReactNode;
}

/** Skeleton, then data or the error. Data stays on screen while it is read again, also when that fails. */
export function ResourceView<T>({ resource, skeleton, children }: ResourceViewProps<T>) {
  const { data, error, reload } = resource;
  if (data === undefined)
    return error ? <ErrorState error={error} onRetry={reload} /> : (skeleton ?? <TableSkeleton />);
  return (
    <>
      {error ? (
        <div style={{ padding: "var(--space-3)" }}>
          <Notice
            tone="warn"
            title="Not up to date."
            actions={
              <Button small onClick={reload}>
                Try again
              </Button>
            }
          >
            {toMessage(error)}
          </Notice>
        </div>
      ) : null}
      {children(data)}
    </>
  );
}
