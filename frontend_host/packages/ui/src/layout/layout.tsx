import type { ReactNode } from "react";
import { useEffect, useRef } from "react";
import { Link } from "../actions/Link";
import { useMfe } from "../remote/context";
import { Icon } from "./Icon";

interface PageProps {
  title: string;
  /** Shown under the title. */
  lead?: ReactNode;
  back?: { to: string; label: string };
  actions?: ReactNode;
  size?: "narrow" | "normal" | "wide";
  children: ReactNode;
}

/** A page: its heading, its actions and its body. Sets the document's title. */
export function Page({ title, lead, back, actions, size = "normal", children }: PageProps) {
  const { setTitle } = useMfe();
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => setTitle(title), [setTitle, title]);
  // A new page is announced, and the next Tab starts at its top; an open modal keeps the focus, as the rest is inert.
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  return (
    <div className={`page ${size}`}>
      <header className="page-head">
        <div>
          {back && (
            <nav className="crumbs" aria-label="Up">
              <Link to={back.to} className="row gap-1">
                <Icon name="arrowLeft" size={14} /> {back.label}
              </Link>
            </nav>
          )}
          <h1 ref={heading} className="break" tabIndex={-1}>
            {title}
          </h1>
          {lead && <p>{lead}</p>}
        </div>
        {actions && <div className="row gap-2 wrap">{actions}</div>}
      </header>
      {children}
    </div>
  );
}

interface CardProps {
  title?: ReactNode;
  actions?: ReactNode;
  /** Leaves out the padding, for tables. */
  flush?: boolean;
  className?: string;
  children: ReactNode;
}

export function Card({ title, actions, flush, className = "", children }: CardProps) {
  return (
    <section className={`card ${className}`}>
      {(title || actions) && (
        <div className="card-head">
          {title && <h2>{title}</h2>}
          {actions && <div className="row push">{actions}</div>}
        </div>
      )}
      {flush ? children : <div className="card-body">{children}</div>}
    </section>
  );
}

/** Label and value pairs. Empty values are left out. */
export function Facts({ items }: { items: [string, ReactNode][] }) {
  return (
    <dl className="facts">
      {items
        .filter(([, value]) => value !== null && value !== undefined && value !== "")
        .map(([label, value]) => (
          <div key={label} style={{ display: "contents" }}>
            <dt>{label}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

export interface TabItem<K extends string> {
  key: K;
  label: string;
  count?: number;
  tone?: "bad" | "warn";
}

interface TabsProps<K extends string> {
  label: string;
  items: readonly TabItem<K>[];
  value: K;
  onChange: (key: K) => void;
  kind?: "tabs" | "segmented";
}

/** Tabs with arrow keys. `segmented` looks like one control, for few short choices. */
export function Tabs<K extends string>({ label, items, value, onChange, kind = "tabs" }: TabsProps<K>) {
  const step = (by: number, target: HTMLElement) => {
    const at = items.findIndex((item) => item.key === value);
    const next = items[(at + by + items.length) % items.length];
    if (!next) return;
    onChange(next.key);
    target.querySelectorAll<HTMLElement>('[role="tab"]')[items.indexOf(next)]?.focus();
  };
  const list = useRef<HTMLDivElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another choice may be out of sight on small screens.
  useEffect(() => {
    const current = list.current?.querySelector<HTMLElement>('[aria-selected="true"]');
    if (current && list.current) list.current.scrollLeft = current.offsetLeft - list.current.offsetLeft - 40;
  }, [value]);
  return (
    <div
      ref={list}
      className={kind}
      role="tablist"
      aria-label={label}
      onKeyDown={(event) => {
        if (event.key === "ArrowRight") step(1, event.currentTarget);
        else if (event.key === "ArrowLeft") step(-1, event.currentTarget);
      }}
    >
      {items.map((item) => (
        <button
          key={item.key}
          type="button"
          role="tab"
          aria-selected={item.key === value}
          tabIndex={item.key === value ? 0 : -1}
          onClick={() => onChange(item.key)}
        >
          {item.label}
          {item.count ? <span className={`count ${item.tone ?? ""}`}>{item.count}</span> : null}
        </button>
      ))}
    </div>
  );
}
