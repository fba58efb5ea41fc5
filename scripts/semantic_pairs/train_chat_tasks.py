INTENTS = r"""
chat: Translate "{x}" into Italian.
x = see you tomorrow / where is the station / good luck # topic
p How do you say "{x}" in Italian?
s Give the Italian translation of "{x}".
r Into Italian, translate "{x}".
- entity: Translate "{x}" into Portuguese.
- constraint: Translate "{x}" into Italian and explain each word.
- scope: Translate only the first word of "{x}" into Italian.
- negation: Translate the opposite of "{x}" into Italian.

chat: How do I write a formal apology to a {x}?
x = landlord / supplier / wedding guest # subject
p I need to say sorry to a {x} in a formal letter. How should I put it?
s How can I compose a formal apology to a {x}?
r To a {x}, how do I write a formal apology?
- antonym: How do I write an informal apology to a {x}?
- topic: How do I write a formal invitation to a {x}?
- swap: How does a {x} write a formal apology to me?
- constraint: How do I write a formal apology to a {x} in under fifty words?
- modality: Must I write a formal apology to a {x}?

chat: Write a short poem about {x}.
x = a lighthouse / the first snow / an empty train # topic
p I'd like a brief poem whose subject is {x}. Can you make one up?
s Compose a brief poem about {x}.
- antonym: Write a long poem about {x}.
- entity: Write a short story about {x}.
- constraint: Write a short poem about {x} that rhymes in every line.
- negation: Write a short poem that does not mention {x}.
- quantity: Write five short poems about {x}.

chat: Is "fewer" or "less" correct before {x}?
x = countable nouns / sums of money / plural names of animals # topic
p Should one say "less" or "fewer" in front of {x}?
s Is "fewer" or "less" right in front of {x}?
r Before {x}, is "fewer" or "less" correct?
- entity: Is "much" or "many" correct before {x}?
- antonym: Is "fewer" or "less" correct after {x}?
- modality: Why can "less" be correct before {x}?

chat: Give me a synonym for "{x}".
x = stubborn / glitter / brave # topic
p What is another word that means the same as "{x}"?
s Name a word with the same meaning as "{x}".
r For "{x}", give me a synonym.
- antonym: Give me an antonym for "{x}".
- quantity: Give me twelve synonyms for "{x}".
- entity: Give me a rhyme for "{x}".
- constraint: Give me a one-syllable synonym for "{x}".

chat: What is {x}% of 240?
x = 15 / 30 / 65 # number
p If I take {x}% of 240, what do I get?
s How much is {x}% of 240?
r 240: what is {x}% of it?
n What is {x} percent of 240?
- swap: {x} is what percentage of 240?
- number: What is {x}% of 420?
- unit: What is {x} per mille of 240?
- negation: What is left of 240 when {x}% of it is not counted?

chat: How many {x} are in a leap year?
x = days / hours / minutes # unit
p A leap year has what number of {x}?
s What is the number of {x} in a leap year?
r In a leap year, how many {x} are there?
- negation: How many {x} are in a year that is not a leap year?
- quantity: How many {x} are in two leap years?
- topic: How many {x} are in a school term?
- scope: How many {x} are in the first half of a leap year?

chat: Convert {x} degrees Fahrenheit to Celsius.
x = 50 / 98.6 / 212 # number
p How warm is {x} degrees Fahrenheit in Celsius?
s Express {x} degrees Fahrenheit in Celsius.
r To Celsius, convert {x} degrees Fahrenheit.
- swap: Convert {x} degrees Celsius to Fahrenheit.
- unit: Convert {x} degrees Fahrenheit to kelvin.
- constraint: Convert {x} degrees Fahrenheit to Celsius and show each step.

chat: What should I see in {x} in one day?
x = Lisbon / Krakow / Kyoto # entity
p I only have a day in {x}. Which sights are worth it?
s Which sights should I visit in {x} in one day?
r In one day, what should I see in {x}?
- negation: What should I not see in {x} if I have one day?
- unit: What should I see in {x} in one week?
- constraint: What should I see in {x} in one day with a wheelchair?
- topic: What should I eat in {x} in one day?
- date: What should I see in {x} before sunrise?
- number: What should I see in {x} in three days?

chat: Is the tap water in {x} safe to drink?
x = Marrakesh / Helsinki / Hanoi # entity
p Can I drink water from the tap in {x} without getting ill?
s Is the tap water in {x} drinkable?
r In {x}, is the tap water safe to drink?
- negation: Why is the tap water in {x} not safe to drink?
- topic: Is the sea water in {x} safe to swim in?
- date: Was the tap water in {x} safe to drink in 1950?
- modality: Must restaurants in {x} serve tap water?

chat: How long does the train from {x} to {y} take?
x = Vienna / Milan / Prague # entity
y = Budapest / Zurich / Dresden
p What is the travel time by rail from {x} to {y}?
s How long is the train journey from {x} to {y}?
r From {x} to {y}, how long does the train take?
- topic: How much does the train from {x} to {y} cost?
- entity: How long does the bus from {x} to {y} take?
- scope: How long does the slowest train from {x} to {y} take?
< constraint: How long does the train from {x} to {y} take with a stop for lunch in between?
- date: When does the first train from {x} to {y} leave?

chat: When should I plant {x} outdoors?
x = tomatoes / tulip bulbs / garlic # entity
p What's the right time of year to put {x} in the garden?
s When is it best to plant {x} outside?
r Outdoors, when should I plant {x}?
- antonym: When should I plant {x} indoors?
- negation: When should I not plant {x} outdoors?
- topic: When should I water {x} outdoors?
- modality: When did people first plant {x} outdoors?
< constraint: When should I plant {x} outdoors in the southern hemisphere?
"""
