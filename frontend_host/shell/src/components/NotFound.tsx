import { Empty, Link } from "@portal/ui";

export function NotFound() {
  return (
    <div className="page">
      <Empty
        icon="search"
        title="There is no such page"
        actions={
          <Link to="/overview" className="btn primary">
            Go to the overview
          </Link>
        }
      >
        The address may be mistyped, or the page has moved.
      </Empty>
    </div>
  );
}
