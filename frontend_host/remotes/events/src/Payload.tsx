/** Text as it came; a read-only box, so that it scrolls and selects by keyboard too. */
export function Payload({ label, text }: { label: string; text: string }) {
  const rows = Math.min(24, Math.max(2, text.split("\n").length));
  return <textarea className="payload" aria-label={label} readOnly rows={rows} value={text} spellCheck={false} />;
}
