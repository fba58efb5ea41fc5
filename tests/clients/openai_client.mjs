// OpenAI's JavaScript client.
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const model = 'smollm2-135m-instruct';
const client = new OpenAI({ baseURL: `${process.env.FLAMBEAU_BASE}/v1`, apiKey: process.env.FLAMBEAU_KEY, maxRetries: 0 });
const messages = [{ role: 'user', content: 'What is the capital of France?' }];
const parameters = { type: 'object', properties: { city: { type: 'string', maxLength: 12 } }, required: ['city'], additionalProperties: false };
const tools = [{ type: 'function', function: { name: 'get_weather', parameters } }];

async function cancelled() {
  const headers = { authorization: `Bearer ${process.env.FLAMBEAU_KEY}` };
  const text = await (await fetch(`${process.env.FLAMBEAU_BASE}/metrics`, { headers })).text();
  const series = new RegExp(`^flambeau_requests_total\\{model="${model}",.*outcome="cancelled"\\} (\\d+)$`, 'm');
  return Number(text.match(series)[1]);
}

const tests = {
  async 'chat and stream say the same'() {
    const args = { model, messages, max_tokens: 24, temperature: 0 };
    const whole = await client.chat.completions.create(args);
    assert.ok(whole.choices[0].message.content);
    let text = '';
    for await (const chunk of await client.chat.completions.create({ ...args, stream: true })) {
      text += chunk.choices[0]?.delta?.content ?? '';
    }
    assert.equal(text, whole.choices[0].message.content);
  },
  async 'tools are called and streamed'() {
    const args = { model, messages, tools, tool_choice: 'required', parallel_tool_calls: false, max_tokens: 90 };
    const whole = await client.chat.completions.create(args);
    assert.deepEqual(Object.keys(JSON.parse(whole.choices[0].message.tool_calls[0].function.arguments)), ['city']);
    const final = await client.chat.completions.stream(args).finalChatCompletion();
    assert.equal(final.choices[0].message.tool_calls[0].function.name, 'get_weather');
    JSON.parse(final.choices[0].message.tool_calls[0].function.arguments);
  },
  async 'schemas are followed'() {
    const response_format = { type: 'json_schema', json_schema: { name: 'w', schema: parameters } };
    const answer = await client.chat.completions.create({ model, messages, response_format, max_tokens: 60 });
    assert.deepEqual(Object.keys(JSON.parse(answer.choices[0].message.content)), ['city']);
  },
  async 'responses are streamed'() {
    const stream = await client.responses.create({ model, input: 'What is 2+2?', max_output_tokens: 100, temperature: 0, stream: true });
    let text = '', last;
    for await (const event of stream) {
      if (event.type === 'response.output_text.delta') text += event.delta;
      last = event;
    }
    assert.equal(last.type, 'response.completed');
    assert.equal(last.response.output[0].content[0].text, text);
  },
  async 'embeddings are near where texts are'() {
    const [question, ...texts] = (await client.embeddings.create({ model: 'all-minilm-l6-v2', input: ['Which animal purrs?', 'The cat purrs.', 'Stocks fell.'] })).data;
    const [near, far] = texts.map(({ embedding }) => embedding.reduce((sum, x, i) => sum + x * question.embedding[i], 0));
    assert.equal(question.embedding.length, 384);
    assert.ok(near > 0.4 && near > far + 0.2, `${near} ${far}`);
  },
  async 'errors name the field'() {
    await assert.rejects(client.chat.completions.create({ model, messages, temperature: -1 }), { status: 400, param: 'temperature' });
  },
  async 'a stream is aborted'() {
    const stream = await client.chat.completions.create({ model, messages, stream: true, max_tokens: 4000, ignore_eos: true });
    const before = await cancelled();
    for await (const _ of stream) stream.controller.abort();
    for (let i = 0; (await cancelled()) !== before + 1; i++) assert.ok(i < 500, 'the request goes on');
  },
};
for (const [name, test] of Object.entries(tests)) {
  await test();
  console.log(`openai_client.mjs: ${name} ok`);
}
