import { Dialog } from "@portal/ui";
import { GO_TO } from "../host/keyboard";

const KEYS: [string[], string][] = [
  [["Ctrl", "K"], "Find a page, flow or connection, or do something"],
  [["/"], "Search on this page"],
  [["?"], "This list"],
  [["↑", "↓"], "Move between the rows of a table"],
  [["Esc"], "Close a dialog or menu"],
  [["Ctrl", "Z"], "Undo in the mapping editor (Ctrl Shift Z: redo)"],
  [["Ctrl", "Enter"], "Preview in the mapping editor"],
];

export function KeyboardMap({ onClose }: { onClose: () => void }) {
  const goTo = Object.entries(GO_TO).map(([key, { label }]): [string[], string] => [["g", key], `Go to ${label}`]);
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose}>
      <dl className="keys">
        {[...KEYS, ...goTo].map(([keys, label]) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd className="row gap-1">
              {keys.map((key) => (
                <kbd key={key} className="kbd">
                  {key}
                </kbd>
              ))}
            </dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
