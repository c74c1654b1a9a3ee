import type { Permission } from "@portal/api-client";
import { Checkbox } from "@portal/ui";
import { Fragment } from "react";

interface Props {
  all: readonly Permission[];
  value: readonly string[];
  disabled?: boolean;
  onChange: (codes: string[]) => void;
}

/** Permissions by their noun (`flow:`, `run:`). */
export function PermissionChoice({ all, value, disabled, onChange }: Props) {
  const groups = new Map<string, Permission[]>();
  for (const permission of all) {
    const noun = permission.code.split(":")[0]!;
    groups.set(noun, [...(groups.get(noun) ?? []), permission]);
  }
  return (
    <div className="permissions" role="group" aria-label="Permissions">
      {[...groups].map(([noun, permissions]) => (
        <Fragment key={noun}>
          <h3>{noun === "apikey" ? "API keys" : noun.replace(/^./, (letter) => letter.toUpperCase())}</h3>
          {permissions.map(({ code, description }) => (
            <Checkbox
              key={code}
              label={description}
              hint={<code>{code}</code>}
              disabled={disabled}
              checked={value.includes(code)}
              onChange={(checked) => onChange(checked ? [...value, code] : value.filter((one) => one !== code))}
            />
          ))}
        </Fragment>
      ))}
    </div>
  );
}
