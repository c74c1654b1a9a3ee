import type { ExpressionFunction } from "@portal/api-client";
import { Button, Empty, ResourceView } from "@portal/ui";
import { useState } from "react";
import { useEditor } from "../editor/useFlowEditor";
import { useExpressionFocus } from "../expression/focus";
import { useFunctions } from "../expression/useFunctions";

const MOST_SHOWN = 60;

/** The catalogue: every function with an example and its result. */
export function FunctionsPanel() {
  const functions = useFunctions();
  const [search, setSearch] = useState("");
  return (
    <>
      <div className="pane-search">
        <input
          className="input"
          type="search"
          aria-label="Search functions"
          placeholder="Search by name or by what it does"
          value={search}
          onChange={(event) => setSearch(event.target.value)}
        />
      </div>
      <ResourceView resource={functions}>
        {({ results }) => <FunctionList functions={results} search={search.trim().toLowerCase()} />}
      </ResourceView>
    </>
  );
}

function FunctionList({ functions, search }: { functions: ExpressionFunction[]; search: string }) {
  const { editable } = useEditor();
  const focus = useExpressionFocus();
  const found = functions
    .filter((one) => !search || `${one.name} ${one.category} ${one.description}`.toLowerCase().includes(search))
    .sort((a, b) => Number(b.name.startsWith(search)) - Number(a.name.startsWith(search)));
  if (!found.length)
    return (
      <Empty icon="search" title="No function matches">
        Only functions that are safe and give the same result everywhere are allowed.
      </Empty>
    );
  return (
    <ul className="functions">
      {found.slice(0, MOST_SHOWN).map((one) => (
        <li key={`${one.category}-${one.name}`}>
          <div className="row between">
            <code className="t-function">{one.signature}</code>
            {editable && (
              <Button
                small
                tone="ghost"
                onClick={() => focus.current?.insert(one.example)}
                title="Insert the example at the caret"
              >
                Insert
              </Button>
            )}
          </div>
          <p>{one.description}</p>
          <p className="mono xs break">
            {one.example} <span className="muted">→ {one.result}</span>
          </p>
        </li>
      ))}
      {found.length > MOST_SHOWN && <li className="muted xs">{found.length - MOST_SHOWN} more; search to narrow.</li>}
    </ul>
  );
}
