export { Button, CopyButton, Spinner } from "./actions/Button";
export { Link } from "./actions/Link";
export { Menu, type MenuItem } from "./actions/Menu";
export { type Column, DataTable, Pager } from "./data/DataTable";
export { PagedTable } from "./data/PagedTable";
export { JsonPayload, Payload } from "./data/Payload";
export { isNumericType, Value, ValueGrid } from "./data/ValueGrid";
export {
  Empty,
  ErrorNotice,
  ErrorState,
  Notice,
  ResourceView,
  Skeleton,
  TableSkeleton,
  toMessage,
} from "./feedback/states";
export { Progress, StatusBadge } from "./feedback/status";
export { parseJsonObject } from "./format/json";
export {
  formatBytes,
  formatCompact,
  formatCount,
  formatDecimal,
  formatDuration,
  isDecimalType,
} from "./format/numbers";
export { formatDateTime, formatRelative, Time } from "./format/Time";
export { Checkbox, Field, type Option, SearchInput, Select, TextArea, TextInput } from "./forms/fields";
export { useAction } from "./hooks/useAction";
export { type PagedResource, type Resource, usePages, useResource } from "./hooks/useResource";
export { Icon, type IconName, isIconName } from "./layout/Icon";
export { Card, Facts, Page, type TabItem, Tabs } from "./layout/layout";
export { ConfirmHost, type ConfirmRequest, useConfirm } from "./overlays/confirm";
export { Dialog } from "./overlays/Dialog";
export { MfeContext, matchRoute, useCan, useMfe, useQueryParams } from "./remote/context";
export { defineRemote } from "./remote/defineRemote";
export { adoptStyles, uiStyles } from "./styles";
