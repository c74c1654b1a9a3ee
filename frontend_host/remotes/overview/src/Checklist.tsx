import type { Overview } from "@portal/api-client";
import { Card, Icon, Link, useCan } from "@portal/ui";

interface Step {
  title: string;
  text: string;
  done: boolean;
  to: string;
  action: string;
  allowed: boolean;
}

/** The way from an empty tenant to the first run; goes away when it has been walked. */
export function Checklist({ counts, hasRun }: { counts: Overview["counts"]; hasRun: boolean }) {
  const canConnect = useCan("connection:edit");
  const canBuild = useCan("flow:edit");
  const canRun = useCan("run:start");
  const steps: Step[] = [
    {
      title: "Connect a source",
      text: "A database, files or a REST service. The warehouse is there already.",
      // The built-in warehouse is one connection.
      done: counts.connections > 1,
      to: "/connections/new",
      action: "New connection",
      allowed: canConnect,
    },
    {
      title: "Map it",
      text: "Pick an entity; fields are suggested by name and type, with a live preview.",
      done: counts.flows > 0,
      to: "/flows?create=1",
      action: "New flow",
      allowed: canBuild,
    },
    {
      title: "Run it",
      text: "Rows arrive in the warehouse; broken ones wait in quarantine with their reasons.",
      done: hasRun,
      to: "/flows",
      action: "Choose a flow",
      allowed: canRun,
    },
  ];
  return (
    <Card title="Getting started">
      <ol className="steps">
        {steps.map((step, at) => (
          <li key={step.title} className={step.done ? "done" : undefined}>
            <span className="dot">{step.done ? <Icon name="check" size={14} /> : at + 1}</span>
            <h3>{step.title}</h3>
            <p>{step.text}</p>
            {step.done ? (
              <span className="badge ok">Done</span>
            ) : step.allowed ? (
              <Link to={step.to} className="btn">
                {step.action}
              </Link>
            ) : (
              <span className="xs muted">Your roles do not include this; ask a colleague who may.</span>
            )}
          </li>
        ))}
      </ol>
    </Card>
  );
}
