import type { Stage } from "@portal/api-client";
import { Button, Icon } from "@portal/ui";
import { type ReactNode, useMemo, useState } from "react";
import { buildTree, type StageNode } from "./stageTree";

/** Children that are open from the start, and that are added by one press. */
const OPEN_MOST = 20;
const PAGE = 100;

interface StageTreeProps {
  stages: readonly Stage[];
  row: (stage: Stage, toggle: ReactNode) => ReactNode;
}

/** The steps of a process, what happened inside one below it. Large groups begin closed, unless something in them failed. */
export function StageTree({ stages, row }: StageTreeProps) {
  const roots = useMemo(() => buildTree(stages), [stages]);
  return <Level nodes={roots} row={row} depth={0} />;
}

function Level({ nodes, row, depth }: { nodes: StageNode[]; row: StageTreeProps["row"]; depth: number }) {
  const [shown, setShown] = useState(PAGE);
  const left = nodes.length - shown;
  return (
    <ol className={depth ? "stage-level" : undefined}>
      {nodes.slice(0, shown).map((node) => (
        <Branch key={node.key} node={node} row={row} depth={depth} crowded={nodes.length > OPEN_MOST} />
      ))}
      {left > 0 && (
        <li className="pad">
          <Button small tone="ghost" icon="down" onClick={() => setShown(shown + PAGE)}>
            Show {Math.min(PAGE, left)} more of {left}
          </Button>
        </li>
      )}
    </ol>
  );
}

interface BranchProps {
  node: StageNode;
  row: StageTreeProps["row"];
  depth: number;
  /** It has many siblings, so that only those in which something failed are open. */
  crowded: boolean;
}

function Branch({ node, row, depth, crowded }: BranchProps) {
  const [chosen, setChosen] = useState<boolean | null>(null);
  const open = chosen ?? (node.failed > 0 || (!crowded && node.children.length <= OPEN_MOST));
  const inside = node.children.length > 0;
  const toggle = inside && (
    <button
      type="button"
      className="stage-toggle"
      aria-expanded={open}
      aria-label={`Steps inside ${node.label}`}
      onClick={() => setChosen(!open)}
    >
      <Icon name={open ? "down" : "right"} size={14} />
    </button>
  );
  return (
    <li className={node.stage ? "stage" : "stage-group"}>
      {node.stage ? (
        row(node.stage, toggle)
      ) : (
        <div className="row gap-2 xs soft">
          {toggle}
          <span className="strong break">{node.label}</span>
          <Counts node={node} />
        </div>
      )}
      {node.stage && inside && !open && (
        <div className="xs soft stage-count">
          <Counts node={node} />
        </div>
      )}
      {inside && open && <Level nodes={node.children} row={row} depth={depth + 1} />}
    </li>
  );
}

function Counts({ node }: { node: StageNode }) {
  return (
    <span className="row gap-2 num muted">
      <span>{node.steps === 1 ? "1 step" : `${node.steps} steps`}</span>
      {node.active > 0 && <span>{node.active} at work</span>}
      {node.failed > 0 && <span className="badge bad">{node.failed} failed</span>}
    </span>
  );
}
