import { useId, useRef } from "react";
import { Icon, type IconName } from "../layout/Icon";
import { Button } from "./Button";

export interface MenuItem {
  label: string;
  icon?: IconName;
  danger?: boolean;
  disabled?: boolean;
  run: () => void;
}

interface MenuProps {
  label: string;
  items: (MenuItem | "line")[];
  /** Text on the button; without it the button shows three dots. */
  text?: string;
  icon?: IconName;
  small?: boolean;
  tone?: "primary" | "ghost";
}

/** A menu on the platform's popover: the top layer, light dismiss and Escape come with it. */
export function Menu({ label, items, text, icon = "more", small, tone = "ghost" }: MenuProps) {
  const id = useId();
  const menu = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLSpanElement>(null);
  const place = () => {
    const box = button.current?.getBoundingClientRect();
    const element = menu.current;
    if (!box || !element) return;
    const { offsetWidth: width, offsetHeight: height } = element;
    const below = box.bottom + 4 + height <= window.innerHeight;
    element.style.top = `${below ? box.bottom + 4 : Math.max(8, box.top - 4 - height)}px`;
    element.style.left = `${Math.max(8, Math.min(box.right - width, window.innerWidth - width - 8))}px`;
  };
  const move = (by: number) => {
    const all = [...(menu.current?.querySelectorAll<HTMLButtonElement>("button:not(:disabled)") ?? [])];
    const root = menu.current?.getRootNode() as ShadowRoot | Document;
    const at = all.indexOf(root.activeElement as HTMLButtonElement);
    all[(at + by + all.length) % all.length]?.focus();
  };
  return (
    <>
      <span ref={button} style={{ display: "inline-flex" }}>
        <Button
          tone={tone}
          small={small}
          icon={text ? undefined : icon}
          aria-label={text ? undefined : label}
          aria-haspopup="menu"
          popoverTarget={id}
          onClick={(event) => event.stopPropagation()}
        >
          {text && (
            <>
              {text} <Icon name="down" size={14} />
            </>
          )}
        </Button>
      </span>
      <div
        ref={menu}
        id={id}
        popover="auto"
        role="menu"
        aria-label={label}
        className="menu"
        tabIndex={-1}
        onToggle={(event) => {
          if (event.newState !== "open") return;
          place();
          menu.current?.querySelector<HTMLButtonElement>("button:not(:disabled)")?.focus();
        }}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown") move(1);
          else if (event.key === "ArrowUp") move(-1);
          else return;
          event.preventDefault();
        }}
        onClick={(event) => event.stopPropagation()}
      >
        {items.map((item, at) =>
          item === "line" ? (
            <hr key={`line-${at}`} />
          ) : (
            <button
              key={item.label}
              type="button"
              role="menuitem"
              className={item.danger ? "danger" : undefined}
              disabled={item.disabled}
              onClick={() => {
                menu.current?.hidePopover();
                item.run();
              }}
            >
              {item.icon && <Icon name={item.icon} size={15} />}
              {item.label}
            </button>
          ),
        )}
      </div>
    </>
  );
}
