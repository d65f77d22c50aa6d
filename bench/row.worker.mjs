// A Worker and its objects, one for each path, of which each writes what it is sent as one row, and answers a constant.

import { DurableObject } from "cloudflare:workers";

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    const body = await request.text();
    return env.OBJECT.get(env.OBJECT.idFromName(pathname)).fetch("https://object/", { method: "POST", body });
  },
};

export class Row extends DurableObject {
  constructor(state, env) {
    super(state, env);
    state.storage.sql.exec("CREATE TABLE IF NOT EXISTS row (body TEXT NOT NULL)");
  }

  async fetch(request) {
    this.ctx.storage.sql.exec("INSERT INTO row (body) VALUES (?)", await request.text());
    return new Response(this.env.ANSWER, { headers: { "Content-Type": "application/json" } });
  }
}
