import { Empty, Link } from "@portal/ui";

/** An address that shows nothing: mistyped, or of an area that the person's roles leave out. */
export function NotFound({ withheld }: { withheld: string | null }) {
  const overview = (
    <Link to="/overview" className="btn primary">
      Go to the overview
    </Link>
  );
  return (
    <div className="page">
      {withheld ? (
        <Empty icon="lock" title="You may not see this" actions={overview}>
          {withheld} needs a permission that your roles do not have. Ask an administrator of your organisation for
          access.
        </Empty>
      ) : (
        <Empty icon="search" title="There is no such page" actions={overview}>
          The address may be mistyped, or the page has moved.
        </Empty>
      )}
    </div>
  );
}
