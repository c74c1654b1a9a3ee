import type { ReactNode } from "react";
import { ResourceView } from "../feedback/states";
import type { PagedResource } from "../hooks/useResource";
import { Card } from "../layout/layout";
import { DataTable, type DataTableProps, Pager } from "./DataTable";

interface PagedTableProps<T> extends Omit<DataTableProps<T>, "rows"> {
  resource: PagedResource<T>;
  /** What stands there when the first page has no rows. */
  empty: ReactNode;
}

/** A list of the API in a card: loading, error and empty states, rows, and the way to the next page. */
export function PagedTable<T>({ resource, empty, ...table }: PagedTableProps<T>) {
  return (
    <Card flush>
      <ResourceView resource={resource}>
        {(page) =>
          page.results.length ? (
            <>
              <DataTable {...table} rows={page.results} />
              <Pager
                hasPrevious={resource.hasPrevious}
                hasNext={resource.hasNext}
                onPrevious={resource.previous}
                onNext={resource.next}
              />
            </>
          ) : (
            empty
          )
        }
      </ResourceView>
    </Card>
  );
}
