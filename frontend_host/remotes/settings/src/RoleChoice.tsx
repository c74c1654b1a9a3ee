import type { Role } from "@portal/api-client";
import { Checkbox } from "@portal/ui";

export function RoleChoice({
  roles,
  value,
  onChange,
}: {
  roles: Role[];
  value: string[];
  onChange: (slugs: string[]) => void;
}) {
  return (
    <div className="stack gap-3" role="group" aria-label="Roles">
      {roles.map((role) => (
        <Checkbox
          key={role.slug}
          label={role.name}
          hint={role.description || `${role.permissions.length} permissions`}
          checked={value.includes(role.slug)}
          onChange={(checked) => onChange(checked ? [...value, role.slug] : value.filter((slug) => slug !== role.slug))}
        />
      ))}
    </div>
  );
}
