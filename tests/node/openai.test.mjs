// The openai package, unmodified, against a hub. HUB_URL ends with /v1; the models are those of serving.py.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';

const baseURL = process.env.HUB_URL;
const apiKey = process.env.HUB_KEY;
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 20_000 });
const hello = [{ role: 'user', content: 'canary-of-a-prompt' }];

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? '').join('');

test('a chat completion has its text, its usage and a finish reason', async () => {
  const answer = await client.chat.completions.create({ model: 'plain', messages: hello });
  assert.equal(answer.choices[0].message.content, 'one two three ☃');
  assert.equal(answer.choices[0].finish_reason, 'stop');
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test('fields that OpenAI does not know pass both ways', async () => {
  const sent = { model: 'extra', messages: hello, my_own_field: { deep: [1, null] } };
  const answer = await client.chat.completions.create(sent);
  assert.deepEqual(answer.provider_extra, { kept: true });
  assert.equal(answer.choices[0].message.reasoning_content, 'thinking');
});

test('a stream without include_usage has no usage in any chunk', async () => {
  const chunks = await collect(await client.chat.completions.create({ model: 'plain', messages: hello, stream: true }));
  assert.equal(textOf(chunks), 'one two three ☃');
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
  assert.ok(chunks.every((chunk) => !('usage' in chunk) && chunk.choices.length === 1));
});

test('a stream with include_usage has it in one last chunk without choices', async () => {
  const options = { model: 'plain', messages: hello, stream: true, stream_options: { include_usage: true } };
  const chunks = await collect(await client.chat.completions.create(options));
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.ok(chunks.at(-1).usage.completion_tokens > 0);
  assert.ok(chunks.slice(0, -1).every((chunk) => chunk.usage === null));
});

test('the streaming runner puts an answer together', async () => {
  const runner = client.chat.completions.stream({ model: 'plain', messages: hello });
  assert.equal(await runner.finalContent(), 'one two three ☃');
});

test('tool calls come whole and, streamed, as deltas with an index', async () => {
  const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object', properties: {} } } }];
  const answer = await client.chat.completions.create({ model: 'tools', messages: hello, tools });
  assert.equal(answer.choices[0].finish_reason, 'tool_calls');
  assert.deepEqual(
    answer.choices[0].message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
    [['weather', { city: 'Oslo' }], ['time', { zone: 'CET' }]],
  );
  const runner = client.chat.completions.stream({ model: 'tools', messages: hello, tools });
  const whole = await runner.finalChatCompletion();
  assert.deepEqual(
    whole.choices[0].message.tool_calls.map((call) => JSON.parse(call.function.arguments)),
    [{ city: 'Oslo' }, { zone: 'CET' }],
  );
});

test('a JSON schema reaches the upstream, and its answer parses', async () => {
  const schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };
  const response_format = { type: 'json_schema', json_schema: { name: 'place', strict: true, schema } };
  const answer = await client.chat.completions.parse({ model: 'json', messages: hello, response_format });
  assert.equal(typeof answer.choices[0].message.parsed.city, 'string');
});

test('n=2 gives two choices, and chunks that keep their index', async () => {
  const answer = await client.chat.completions.create({ model: 'plain', messages: hello, n: 2 });
  assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1]);
  const chunks = await collect(await client.chat.completions.create({ model: 'plain', messages: hello, n: 2, stream: true }));
  for (const index of [0, 1]) {
    const own = chunks.filter((chunk) => chunk.choices[0]?.index === index);
    assert.equal(textOf(own), 'one two three ☃');
  }
});

test('logprobs come whole and streamed', async () => {
  const asked = { model: 'plain', messages: hello, logprobs: true, top_logprobs: 2 };
  const answer = await client.chat.completions.create(asked);
  assert.equal(answer.choices[0].logprobs.content.length, 4);
  assert.equal(answer.choices[0].logprobs.content[0].top_logprobs.length, 2);
  const chunks = await collect(await client.chat.completions.create({ ...asked, stream: true }));
  assert.ok(chunks.some((chunk) => chunk.choices[0]?.logprobs?.content?.length === 1));
});

test('text completions work, whole and streamed', async () => {
  const answer = await client.completions.create({ model: 'plain', prompt: 'Once' });
  assert.equal(answer.choices[0].text, 'one two three ☃');
  const chunks = await collect(await client.completions.create({ model: 'plain', prompt: 'Once', stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.text ?? '').join(''), 'one two three ☃');
});

test('embeddings are the same as floats and as base64', async () => {
  const input = ['a', 'b'];
  const packed = await client.embeddings.create({ model: 'plain', input });
  const floats = await client.embeddings.create({ model: 'plain', input, encoding_format: 'float' });
  assert.equal(packed.data.length, 2);
  packed.data[0].embedding.forEach((value, index) => assert.ok(Math.abs(value - floats.data[0].embedding[index]) < 1e-6));
});

test('models are listed, and one is told by its name', async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(names.includes('plain') && names.includes('tools'));
  assert.equal((await client.models.retrieve('plain')).id, 'plain');
});

test('raw responses show the headers: request id, overhead', async () => {
  const { data, response, request_id } = await client.chat.completions.create({ model: 'plain', messages: hello }).withResponse();
  assert.equal(data.choices[0].message.content, 'one two three ☃');
  assert.equal(response.headers.get('x-request-id'), request_id);
  const raw = await client.chat.completions.create({ model: 'plain', messages: hello }).asResponse();
  assert.equal(raw.status, 200);
  assert.match(raw.headers.get('content-type'), /^application\/json/);
  assert.equal((await raw.json()).object, 'chat.completion');
});

const refused = [
  ['400 BadRequestError', OpenAI.BadRequestError, 400, 'bad_input', { model: 'status-400' }],
  ['404 NotFoundError for an unknown model', OpenAI.NotFoundError, 404, 'model_not_found', { model: 'no-such-model' }],
  ['409 ConflictError', OpenAI.ConflictError, 409, 'bad_input', { model: 'status-409' }],
  ['422 UnprocessableEntityError', OpenAI.UnprocessableEntityError, 422, 'bad_input', { model: 'status-422' }],
  ['502 InternalServerError when the upstream fails', OpenAI.InternalServerError, 502, 'upstream_error', { model: 'status-500' }],
  ['502 and not 401 when the stored key is rejected', OpenAI.InternalServerError, 502, 'upstream_auth', { model: 'status-401' }],
  ['503 InternalServerError when the upstream is overloaded', OpenAI.InternalServerError, 503, 'upstream_overloaded', { model: 'status-503' }],
  ['504 InternalServerError when the upstream is too slow', OpenAI.InternalServerError, 504, 'upstream_timeout', { model: 'hangs' }],
];
for (const [name, kind, status, code, options] of refused) {
  test(`an error is raised as ${name}`, async () => {
    await assert.rejects(client.chat.completions.create({ messages: hello, ...options }), (error) => {
      assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
      assert.equal(error.status, status);
      assert.equal(error.code, code);
      assert.ok(error.requestID);
      assert.ok(error.message.length > 10);
      return true;
    });
  });
}

test('an error is raised as 401 AuthenticationError for a wrong key', async () => {
  const stranger = new OpenAI({ baseURL, apiKey: 'sk-byom-aaaaaaaaaaaa-' + 'b'.repeat(33), maxRetries: 0 });
  await assert.rejects(stranger.models.list(), (error) => {
    assert.ok(error instanceof OpenAI.AuthenticationError);
    assert.equal(error.code, 'invalid_api_key');
    return true;
  });
});

test('an error is raised as 403 PermissionDeniedError for what belongs to others', async () => {
  await assert.rejects(client.files.list(), (error) => {
    assert.ok(error instanceof OpenAI.PermissionDeniedError, `${error.constructor.name}: ${error.message}`);
    assert.equal(error.code, 'permission_denied');
    return true;
  });
});

test('an error is raised as 429 RateLimitError with the time to wait', async () => {
  await client.chat.completions.create({ model: 'limited', messages: hello });
  await assert.rejects(client.chat.completions.create({ model: 'limited', messages: hello }), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError, `${error.constructor.name}: ${error.message}`);
    assert.equal(error.code, 'rate_limit_exceeded');
    assert.ok(Number(error.headers.get('retry-after')) > 0);
    return true;
  });
});

test('an error in the middle of a stream is raised as APIError', async () => {
  const stream = await client.chat.completions.create({ model: 'breaks', messages: hello, stream: true });
  const chunks = [];
  await assert.rejects(async () => {
    for await (const chunk of stream) chunks.push(chunk);
  }, OpenAI.APIError);
  assert.ok(chunks.length >= 3);
});

test('an error is raised as APIConnectionError where nothing listens', async () => {
  const nowhere = new OpenAI({ baseURL: 'http://127.0.0.1:9/v1', apiKey, maxRetries: 0 });
  await assert.rejects(nowhere.models.list(), OpenAI.APIConnectionError);
});

test('an error is raised as APIConnectionTimeoutError when the caller has no patience', async () => {
  const waiting = client.chat.completions.create({ model: 'endless', messages: hello }, { timeout: 300 });
  await assert.rejects(waiting, OpenAI.APIConnectionTimeoutError);
});

test('cancelling a stream half-way ends it', async () => {
  const stop = new AbortController();
  const stream = await client.chat.completions.create({ model: 'endless', messages: hello, stream: true }, { signal: stop.signal });
  let seen = 0;
  for await (const _ of stream) {
    seen += 1;
    if (seen === 2) stop.abort();
  }
  assert.ok(seen >= 2 && seen < 10);
});

test('cancelling a call that does not stream raises APIUserAbortError', async () => {
  const stop = new AbortController();
  const call = client.chat.completions.create({ model: 'endless', messages: hello }, { signal: stop.signal });
  setTimeout(() => stop.abort(), 200);
  await assert.rejects(call, OpenAI.APIUserAbortError);
});

test('retries of the package carry the same idempotency key, so one call is made', async () => {
  const headers = { 'Idempotency-Key': `same-${process.pid}` };
  const asked = { model: 'counted', messages: hello };
  const first = await client.chat.completions.create(asked, { headers });
  const again = await client.chat.completions.create(asked, { headers });
  assert.equal(first.id, again.id);
});
