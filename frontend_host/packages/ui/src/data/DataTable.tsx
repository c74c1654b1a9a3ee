import type { KeyboardEvent, ReactNode } from "react";
import { Link } from "../actions/Link";
import { useMfe } from "../remote/context";

export interface Column<T> {
  key: string;
  title: string;
  render: (row: T) => ReactNode;
  align?: "end";
  /** The column that names the row: it carries the link, and heads the card on small screens. */
  lead?: boolean;
  /** Left out where rows are shown as cards. */
  offCard?: boolean;
  width?: string;
}

export interface DataTableProps<T> {
  label: string;
  rows: readonly T[];
  columns: readonly Column<T>[];
  rowKey: (row: T) => string;
  href?: (row: T) => string | null;
  onOpen?: (row: T) => void;
  selected?: ReadonlySet<string>;
  onSelect?: (selected: Set<string>) => void;
}

/** A dense table that becomes cards below 720 px. Arrow keys move between rows. */
export function DataTable<T>(props: DataTableProps<T>) {
  const { label, rows, columns, rowKey, href, onOpen, selected, onSelect } = props;
  const { navigate } = useMfe();
  const picked = selected ?? new Set<string>();
  const keys = rows.map(rowKey);
  const all = keys.length > 0 && keys.every((key) => picked.has(key));
  const some = keys.some((key) => picked.has(key));
  const toggle = (key: string) => {
    const next = new Set(picked);
    if (!next.delete(key)) next.add(key);
    onSelect?.(next);
  };
  return (
    <div className="table-wrap">
      <table className="table cards" aria-label={label}>
        <thead>
          <tr>
            {onSelect && (
              <th style={{ width: 36 }}>
                <input
                  type="checkbox"
                  className="box"
                  aria-label="Select all rows on this page"
                  checked={all}
                  ref={(box) => {
                    if (box) box.indeterminate = some && !all;
                  }}
                  onChange={() => {
                    const next = new Set(picked);
                    for (const key of keys) {
                      if (all) next.delete(key);
                      else next.add(key);
                    }
                    onSelect(next);
                  }}
                />
              </th>
            )}
            {columns.map((column) => (
              <th
                key={column.key}
                scope="col"
                className={column.align}
                style={column.width ? { width: column.width } : undefined}
              >
                {column.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody onKeyDown={moveBetweenRows}>
          {rows.map((row) => {
            const key = rowKey(row);
            const to = href?.(row) ?? null;
            const open = onOpen ? () => onOpen(row) : to ? () => navigate(to) : null;
            return (
              <tr
                key={key}
                className={open ? "open" : undefined}
                aria-selected={picked.has(key) || undefined}
                onClick={(event) => {
                  if (open && !(event.target as HTMLElement).closest("a, button, input, label, [popover]")) open();
                }}
              >
                {onSelect && (
                  <td className="pick">
                    <input
                      type="checkbox"
                      className="box"
                      aria-label="Select row"
                      checked={picked.has(key)}
                      onChange={() => toggle(key)}
                    />
                  </td>
                )}
                {columns.map((column) => (
                  <td
                    key={column.key}
                    data-label={column.title || undefined}
                    className={
                      [column.align, column.lead && "lead", column.offCard && "off-card"].filter(Boolean).join(" ") ||
                      undefined
                    }
                  >
                    {column.lead && onOpen ? (
                      <button type="button" className="linklike primary" data-row-link="" onClick={() => onOpen(row)}>
                        {column.render(row)}
                      </button>
                    ) : column.lead && to ? (
                      <Link to={to} className="primary" data-row-link="">
                        {column.render(row)}
                      </Link>
                    ) : (
                      <div className="cell">{column.render(row)}</div>
                    )}
                  </td>
                ))}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function moveBetweenRows(event: KeyboardEvent<HTMLElement>): void {
  const by = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
  const target = event.target as HTMLElement;
  if (!by || !target.matches("[data-row-link]")) return;
  const links = [...event.currentTarget.querySelectorAll<HTMLElement>("[data-row-link]")];
  links[links.indexOf(target) + by]?.focus();
  event.preventDefault();
}

interface PagerProps {
  hasPrevious: boolean;
  hasNext: boolean;
  onPrevious: () => void;
  onNext: () => void;
  note?: ReactNode;
}

export function Pager({ hasPrevious, hasNext, onPrevious, onNext, note }: PagerProps) {
  if (!hasPrevious && !hasNext) return null;
  return (
    <nav className="pager" aria-label="Pages">
      {note && <span className="push">{note}</span>}
      <button type="button" className="btn small" disabled={!hasPrevious} onClick={onPrevious}>
        Previous
      </button>
      <button type="button" className="btn small" disabled={!hasNext} onClick={onNext}>
        Next
      </button>
    </nav>
  );
}
