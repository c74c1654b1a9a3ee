export { LiveClient, type LiveHint, type LiveOptions, type LiveState, type SocketLike } from "./client";
