// The stream of server-sent events about one question. It is read by fetch, since an EventSource cannot send a token. When it is
// cut, the same question is asked by polling until the stream is there again, which then goes on after the last event heard.

import { Refused, ask, live, request } from "./api.js";

/** The server says something at least every 15 seconds: a stream that says nothing for so long is dead. */
const SILENCE_MAX_MS = 40e3;
const AGAIN_MS = 2e3;

/** Splits a stream of bytes into events `{name, data, id}`; comments are `{}`. */
async function* events(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const field = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      yield { name: field("event"), data: field("data"), id: field("id") };
    }
  }
}

const pause = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });

/** Follows the answer to `question` until `signal` is aborted. `tell` hears `(name, data)` of each event; polled answers are
 * snapshots. `state` hears `live`, `polling` or `cut` (with the error). */
export async function follow(question, tell, state, signal) {
  let last;
  while (!signal.aborted) {
    try {
      await stream();
    } catch (error) {
      if (signal.aborted) return;
      // What is refused is refused again; a token or another question helps.
      if (error instanceof Refused && error.status < 500 && error.status !== 429) return state("refused", error);
    }
    if (signal.aborted) return;
    try {
      tell("snapshot", await ask(question, signal));
      state("polling");
    } catch (error) {
      if (!signal.aborted) state("cut", error);
    }
    await pause(AGAIN_MS, signal);
  }

  async function stream() {
    const silence = new AbortController();
    let timer;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MAX_MS);
    };
    heard();
    try {
      const headers = { accept: "text/event-stream", ...(last && { "last-event-id": last }) };
      const both = AbortSignal.any([signal, silence.signal]);
      const response = await request(live(question), { headers, signal: both });
      state("live");
      for await (const { name, data, id } of events(response.body, heard)) {
        last = id ?? last;
        if (name === "problem") throw new Refused(422, JSON.parse(data), "the stream");
        if (name) tell(name, JSON.parse(data));
      }
    } finally {
      clearTimeout(timer);
    }
  }
}
