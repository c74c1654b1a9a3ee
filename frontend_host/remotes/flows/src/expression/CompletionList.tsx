import type { Completion } from "@portal/flow-model";
import { type RefObject, useLayoutEffect, useRef } from "react";

interface CompletionListProps {
  anchor: RefObject<HTMLElement | null>;
  items: Completion[];
  at: number;
  onAccept: (item: Completion) => void;
}

/** The list under the field, in the top layer so that no scrolling box cuts it off. */
export function CompletionList({ anchor, items, at, onAccept }: CompletionListProps) {
  const list = useRef<HTMLDivElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another list has another height.
  useLayoutEffect(() => {
    const element = list.current;
    const box = anchor.current?.getBoundingClientRect();
    if (!element || !box) return;
    if (!element.matches(":popover-open")) element.showPopover();
    const below = box.bottom + element.offsetHeight + 6 < window.innerHeight;
    element.style.top = `${below ? box.bottom + 2 : box.top - element.offsetHeight - 2}px`;
    element.style.left = `${Math.max(8, Math.min(box.left, window.innerWidth - element.offsetWidth - 8))}px`;
  }, [items, anchor]);
  return (
    <div ref={list} popover="manual" className="menu completions" role="listbox" aria-label="Completions">
      {items.map((item, index) => (
        <button
          key={`${item.kind}-${item.label}`}
          type="button"
          role="option"
          tabIndex={-1}
          aria-selected={index === at}
          // The text area keeps the caret.
          onMouseDown={(event) => event.preventDefault()}
          onClick={() => onAccept(item)}
        >
          <span className={`t-${item.kind} mono`}>{item.label}</span>
          <span className="push type truncate">{item.detail}</span>
        </button>
      ))}
    </div>
  );
}
