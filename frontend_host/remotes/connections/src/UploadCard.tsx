import type { Connection } from "@portal/api-client";
import {
  Button,
  Card,
  ErrorNotice,
  formatBytes,
  Icon,
  Pager,
  Progress,
  useAction,
  useCan,
  useMfe,
  usePages,
  useQueryParams,
} from "@portal/ui";
import { useRef, useState } from "react";

/** Upload by drop or choice, with what was sent so far; it can be stopped. */
export function UploadCard({ connection }: { connection: Connection }) {
  const { api, locale, notify, signal } = useMfe();
  const [, setParams] = useQueryParams();
  const uploads = usePages(`uploads ${connection.id}`, (cursor, call) =>
    api.connections.uploads(connection.id, { cursor, limit: 20 }, call),
  );
  const upload = useAction();
  const [over, setOver] = useState(false);
  const [sent, setSent] = useState<{ name: string; done: number; total: number } | null>(null);
  const control = useRef<AbortController | null>(null);
  const picker = useRef<HTMLInputElement>(null);
  const mayUpload = useCan("connection:use");
  const rows = uploads.data?.results ?? [];

  const send = async (file: File | undefined) => {
    if (!file || upload.busy) return;
    control.current = new AbortController();
    setSent({ name: file.name, done: 0, total: file.size });
    const stored = await upload.run(() =>
      api.connections.upload(connection.id, file, {
        signal: AbortSignal.any([signal, control.current!.signal]),
        onProgress: (done, total) => setSent({ name: file.name, done, total }),
      }),
    );
    setSent(null);
    if (!stored) return;
    notify({ tone: "ok", title: `${file.name} was uploaded.` });
    uploads.reload();
    setParams({ entity: stored.entity });
  };
  if (!mayUpload && !rows.length) return null;
  return (
    <Card title="Files">
      <div className="stack gap-3">
        {mayUpload && (
          <section
            className={`drop ${over ? "over" : ""}`}
            aria-label="Upload a file"
            onDragOver={(event) => {
              event.preventDefault();
              setOver(true);
            }}
            onDragLeave={() => setOver(false)}
            onDrop={(event) => {
              event.preventDefault();
              setOver(false);
              void send(event.dataTransfer.files[0]);
            }}
          >
            {sent ? (
              <div className="stack gap-2" style={{ width: "100%", maxWidth: 420 }}>
                <span className="num">
                  {sent.name}: {formatBytes(sent.done, locale)} of {formatBytes(sent.total, locale)}
                </span>
                <Progress share={sent.total ? sent.done / sent.total : null} label={`Upload of ${sent.name}`} />
                <span>
                  <Button small onClick={() => control.current?.abort()}>
                    Stop
                  </Button>
                </span>
              </div>
            ) : (
              <>
                <Icon name="upload" size={22} />
                <span>Drop a CSV, NDJSON, Parquet or XLSX file here</span>
                <Button onClick={() => picker.current?.click()}>Choose a file</Button>
                <input
                  ref={picker}
                  type="file"
                  hidden
                  accept=".csv,.tsv,.txt,.ndjson,.jsonl,.json,.parquet,.xlsx,.gz,.zst"
                  onChange={(event) => void send(event.target.files?.[0])}
                />
              </>
            )}
          </section>
        )}
        <ErrorNotice error={upload.error} />
        {rows.length > 0 && (
          <ul className="stack gap-1 small">
            {rows.map((row) => (
              <li key={row.path} className="row">
                <Icon name="file" size={14} />
                <button type="button" className="linklike truncate" onClick={() => setParams({ entity: row.entity })}>
                  {row.path}
                </button>
                <span className="muted num push">{formatBytes(row.size_bytes, locale)}</span>
              </li>
            ))}
          </ul>
        )}
        <Pager
          hasPrevious={uploads.hasPrevious}
          hasNext={uploads.hasNext}
          onPrevious={uploads.previous}
          onNext={uploads.next}
        />
      </div>
    </Card>
  );
}
