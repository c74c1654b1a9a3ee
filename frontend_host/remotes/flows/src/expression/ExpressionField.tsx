import type { Column } from "@portal/api-client";
import { type Completion, findCompletions, isInsideString, markSpans, wordBefore } from "@portal/flow-model";
import { type KeyboardEvent, useId, useMemo, useRef, useState } from "react";
import { CompletionList } from "./CompletionList";
import { useExpressionFocus } from "./focus";
import { useExpressionCheck } from "./useExpressionCheck";
import { useFunctions } from "./useFunctions";

export interface FieldProblem {
  message: string;
  severity: "error" | "warning";
  start: number | null;
  end: number | null;
  hint?: string | null;
}

interface ExpressionFieldProps {
  label: string;
  value: string;
  columns: readonly Column[];
  /** Mapped fields that the expression may read as `mapped.<name>`. */
  mapped?: readonly Column[];
  targetType?: string;
  disabled?: boolean;
  placeholder?: string;
  /** Findings of the last validation of the whole draft; replaced by the field's own check while it is edited. */
  problems?: readonly FieldProblem[];
  onChange: (value: string) => void;
  onFocus?: () => void;
}

/**
 * A text area under a coloured copy of its text. It grows with its lines, underlines the characters a problem speaks
 * of, completes columns and functions, and checks itself on the server while it is edited.
 */
export function ExpressionField(props: ExpressionFieldProps) {
  const { label, value, columns, mapped, targetType, disabled, placeholder, problems = [], onChange, onFocus } = props;
  const id = useId();
  const area = useRef<HTMLTextAreaElement>(null);
  const focus = useExpressionFocus();
  const functions = useFunctions();
  const [edited, setEdited] = useState(false);
  const [asked, setAsked] = useState<string | null>(null);
  const [at, setAt] = useState(0);
  // Derived, so that a catalogue that arrives after the first letters still completes them.
  const completions = useMemo(
    () => (asked === null ? [] : findCompletions(asked, columns, functions.data?.results ?? [], mapped)),
    [asked, columns, functions.data, mapped],
  );
  const check = useExpressionCheck(value, columns, mapped, targetType, edited);
  const shown: readonly FieldProblem[] = check ? check.problems : problems;
  const spans = useMemo(() => markSpans(value, shown), [value, shown]);
  const worst = shown.some((problem) => problem.severity === "error") ? "error" : shown.length ? "warning" : null;

  const complete = (source: string, caret: number, force: boolean) => {
    const { word } = wordBefore(source, caret);
    setAsked((word || force) && !isInsideString(source, caret) ? word : null);
    setAt(0);
  };
  const replace = (from: number, to: number, text: string) => {
    onChange(value.slice(0, from) + text + value.slice(to));
    setEdited(true);
    // The caret can be placed once React has written the new value.
    requestAnimationFrame(() => {
      area.current?.focus();
      area.current?.setSelectionRange(from + text.length, from + text.length);
    });
  };
  const accept = (completion: Completion) => {
    const caret = area.current?.selectionStart ?? value.length;
    replace(wordBefore(value, caret).start, caret, completion.insert);
    setAsked(null);
  };
  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      complete(value, event.currentTarget.selectionStart, true);
      return;
    }
    if (!completions.length) return;
    if (event.key === "ArrowDown") setAt((at + 1) % completions.length);
    else if (event.key === "ArrowUp") setAt((at + completions.length - 1) % completions.length);
    else if ((event.key === "Enter" || event.key === "Tab") && !event.shiftKey) accept(completions[at]!);
    else if (event.key === "Escape") setAsked(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div className={`expression ${worst ?? ""}`}>
      <div className="expression-box">
        <pre aria-hidden="true">
          {spans.map((span, index) => (
            <span key={index} className={`t-${span.kind} ${span.mark ? `mark-${span.mark}` : ""}`}>
              {span.text}
            </span>
          ))}
          {"\n"}
        </pre>
        <textarea
          ref={area}
          value={value}
          rows={1}
          disabled={disabled}
          placeholder={placeholder}
          spellCheck={false}
          autoComplete="off"
          autoCapitalize="off"
          aria-label={label}
          aria-invalid={worst === "error" || undefined}
          aria-describedby={shown.length ? `${id}-p` : undefined}
          aria-autocomplete="list"
          onChange={(event) => {
            setEdited(true);
            onChange(event.target.value);
            complete(event.target.value, event.target.selectionStart, false);
          }}
          onKeyDown={onKeyDown}
          onFocus={() => {
            focus.current = {
              insert: (text) => {
                const element = area.current;
                if (element) replace(element.selectionStart, element.selectionEnd, text);
              },
            };
            onFocus?.();
          }}
          onBlur={() => setAsked(null)}
        />
        {completions.length > 0 && <CompletionList anchor={area} items={completions} at={at} onAccept={accept} />}
      </div>
      {shown.length > 0 && (
        <ul className="expression-problems" id={`${id}-p`}>
          {shown.slice(0, 3).map((problem, index) => (
            <li key={index} className={problem.severity}>
              {problem.message}
              {problem.hint && <span className="muted"> {problem.hint}</span>}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
