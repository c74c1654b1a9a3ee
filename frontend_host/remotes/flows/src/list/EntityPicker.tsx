import type { Connection } from "@portal/api-client";
import { formatCompact, SearchInput, Skeleton, toMessage, useMfe, useResource } from "@portal/ui";
import { useState } from "react";

interface EntityPickerProps {
  connection: Connection;
  value: string;
  onChange: (entity: string) => void;
}

/** One entity of a connection, by search. */
export function EntityPicker({ connection, value, onChange }: EntityPickerProps) {
  const { api, locale } = useMfe();
  const [search, setSearch] = useState("");
  const entities = useResource(`entities ${connection.id} ${search}`, (call) =>
    api.connections.entities(connection.id, { search, limit: 50 }, call),
  );
  return (
    <div className="picker">
      <SearchInput value={search} onChange={setSearch} label="Search tables and files" />
      <div className="picker-list" role="listbox" aria-label="Entities">
        {entities.data ? (
          entities.data.results.map((entity) => (
            <button
              key={entity.name}
              type="button"
              role="option"
              aria-selected={entity.name === value}
              onClick={() => onChange(entity.name)}
            >
              <span className="grow truncate">{entity.label || entity.name}</span>
              {entity.row_estimate !== null && (
                <span className="xs muted num">{formatCompact(entity.row_estimate, locale)}</span>
              )}
            </button>
          ))
        ) : entities.error ? (
          <p className="small soft">{toMessage(entities.error)}</p>
        ) : (
          <Skeleton lines={4} height={16} />
        )}
        {entities.data?.results.length === 0 && <p className="small muted">Nothing matches.</p>}
      </div>
    </div>
  );
}

/** Holds the picker's place while its connection is looked up, so that nothing moves under the pointer. */
export function EntityPickerSkeleton() {
  return (
    <div className="picker" aria-hidden="true">
      <Skeleton lines={1} height={32} />
      <div className="picker-list">
        <Skeleton lines={4} height={16} />
      </div>
    </div>
  );
}
