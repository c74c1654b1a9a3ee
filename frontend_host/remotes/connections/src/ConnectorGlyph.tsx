import { Icon, type IconName, isIconName } from "@portal/ui";

const BY_CONNECTOR: Record<string, IconName> = {
  postgresql: "database",
  files: "file",
  rest: "globe",
  warehouse: "warehouse",
};

export function ConnectorGlyph({ connector, icon, small }: { connector: string; icon?: string; small?: boolean }) {
  const name = icon && isIconName(icon) ? icon : (BY_CONNECTOR[connector] ?? "plug");
  return (
    <span className={`glyph ${small ? "small" : ""}`}>
      <Icon name={name} size={small ? 15 : 19} />
    </span>
  );
}
