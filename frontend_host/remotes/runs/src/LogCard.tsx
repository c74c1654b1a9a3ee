import type { LogLine } from "@portal/api-client";
import { Button, Card, Empty, SearchInput, Select, toMessage, useMfe } from "@portal/ui";
import { useEffect, useMemo, useRef, useState } from "react";
import { useLog } from "./useLog";

const ROW = 22;
const OVERSCAN = 12;
const LEVELS = ["debug", "info", "warning", "error"];

/** The log's tail: only the visible lines are in the page, however long the log is. */
export function LogCard({ runId, active }: { runId: string; active: boolean }) {
  const { lines, error, loaded } = useLog(runId, active);
  const [level, setLevel] = useState("info");
  const [search, setSearch] = useState("");
  const [follow, setFollow] = useState(true);
  const shown = useMemo(() => {
    const least = LEVELS.indexOf(level);
    const needle = search.trim().toLowerCase();
    return lines.filter(
      (line) =>
        rankOf(line.level) >= least && (!needle || `${line.message} ${factsOf(line)}`.toLowerCase().includes(needle)),
    );
  }, [lines, level, search]);
  return (
    <Card
      title="Log"
      flush
      actions={
        <div className="log-tools">
          <SearchInput value={search} onChange={setSearch} label="Search the log" />
          <Select
            aria-label="Least level"
            value={level}
            onChange={setLevel}
            options={LEVELS.map((value) => ({ value, label: value === "debug" ? "All levels" : `${value} and above` }))}
          />
          <Button small aria-pressed={follow} onClick={() => setFollow(!follow)}>
            Follow
          </Button>
        </div>
      }
    >
      {error ? (
        <Empty icon="error" title="The log could not be read">
          {toMessage(error)}
        </Empty>
      ) : shown.length ? (
        <LogLines lines={shown} follow={follow} onFollow={setFollow} />
      ) : (
        <Empty icon="file" title={!loaded ? "Reading the log…" : lines.length ? "No line matches" : "No lines yet"} />
      )}
    </Card>
  );
}

function rankOf(level: string): number {
  const rank = LEVELS.indexOf(level.toLowerCase());
  return rank < 0 ? LEVELS.length : rank;
}

function factsOf(line: LogLine): string {
  return Object.entries(line.facts ?? {})
    .map(([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : String(value)}`)
    .join(" ");
}

interface LogLinesProps {
  lines: LogLine[];
  follow: boolean;
  onFollow: (follow: boolean) => void;
}

function LogLines({ lines, follow, onFollow }: LogLinesProps) {
  const { timeZone } = useMfe();
  const box = useRef<HTMLElement>(null);
  const [top, setTop] = useState(0);
  const clock = useMemo(
    () =>
      new Intl.DateTimeFormat("en-GB", {
        timeZone,
        hour: "2-digit",
        minute: "2-digit",
        second: "2-digit",
        fractionalSecondDigits: 3,
      }),
    [timeZone],
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: new lines move the end.
  useEffect(() => {
    if (follow && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [follow, lines.length]);
  const height = box.current?.clientHeight ?? 380;
  const first = Math.max(0, Math.floor(top / ROW) - OVERSCAN);
  const visible = lines.slice(first, Math.ceil((top + height) / ROW) + OVERSCAN);
  return (
    <section
      ref={box}
      className="log"
      tabIndex={0}
      aria-label="Log lines"
      onScroll={(event) => {
        const element = event.currentTarget;
        setTop(element.scrollTop);
        const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < ROW * 2;
        if (atEnd !== follow) onFollow(atEnd);
      }}
    >
      <div style={{ height: lines.length * ROW, position: "relative", minWidth: "max-content" }}>
        {visible.map((line, at) => (
          <div key={line.seq} className={`log-line ${line.level.toLowerCase()}`} style={{ top: (first + at) * ROW }}>
            <time dateTime={line.at}>{clock.format(new Date(line.at))}</time>
            <span className="level">{line.level.toLowerCase()}</span>
            <span>
              {line.message} <span className="log-facts">{factsOf(line)}</span>
            </span>
          </div>
        ))}
      </div>
    </section>
  );
}
