INTENTS = r"""
chat: How many {x} are there in {y}?
x = ounces / inches # unit
y = four pounds / five yards
p What number of {x} makes up {y}?
s How many {x} does one count in {y}?
r In {y}, how many {x} are there?
- number: How many {x} are there in half of {y}?
- swap: What fraction of {y} are five {x}?

chat: How much water should I drink if I run {x} km?
x = 6 / 13 / 21 # number
p I'm running {x} km. What amount of water do I need?
s What amount of water should I drink if I run {x} km?
r If I run {x} km, how much water should I drink?
- unit: How much water should I drink if I run {x} miles?
- negation: How far can I run without water if I run {x} km often?
- entity: How much coffee should I drink if I run {x} km?
- date: How much water should I drink the day before I run {x} km?
- subject: How much water should my dog drink if we run {x} km?

chat: A tank of {x} liters leaks 2 liters an hour. When is it empty?
x = 70 / 36 # number
p After what time is a tank of {x} liters empty if it loses 2 liters an hour?
s A tank of {x} liters loses 2 liters an hour. How long until it's empty?
n A tank of {x} liters leaks two liters an hour. When is it empty?
- number: A tank of {x} liters leaks 12 liters an hour. When is it empty?
- unit: A tank of {x} liters leaks 2 liters a day. When is it empty?
- antonym: An empty tank of {x} liters gets 2 liters an hour. When is it half full?
- quantity: A tank of {x} liters leaks 2 liters an hour. When is it half empty?

chat: What is the next prime after {x}?
x = 53 / 62 # number
p Which prime number follows {x}?
s What's the next prime number after {x}?
r After {x}, what is the next prime?
- antonym: What is the last prime before {x}?
- quantity: What are the next three primes after {x}?
- topic: What is the next perfect square after {x}?

chat: Add {x} days to {y}. What date is it?
x = 45 / 90 # number
y = 10 January / 1 July
p Which date is {x} days after {y}?
s Add {x} days to {y}. Which date is that?
r What date is it if I add {x} days to {y}?
- antonym: Subtract {x} days from {y}. What date is it?
- unit: Add {x} weeks to {y}. What date is it?
- date: Add {x} days to 1 September. What date is it?
- topic: Add {x} days to {y}. What zodiac sign is it?

chat: What day of the week was {x}?
x = 20 July 1969 / 29 February 2000 / 9 November 1989 # date
p On which weekday did {x} fall?
s Which weekday was {x}?
r {x}: what day of the week was it?
- topic: What happened on {x}?
- modality: On what day of the week will the anniversary of {x} be in 2100?
- entity: What phase of the moon was it on {x}?

chat: Who ruled {x} in {y}?
x = Portugal / Denmark # entity
y = 1755 / 1660
p What ruler did {x} have in {y}?
s Who was the ruler of {x} in {y}?
r In {y}, who ruled {x}?
- date: Who ruled {x} in 1300?
- antonym: Who plotted against the ruler of {x} in {y}?
- negation: Who claimed the throne but did not rule {x} in {y}?
- topic: What did people eat in {x} in {y}?

chat: Is it ever colder in {x} than in {y}?
x = Chicago / Sofia
y = Anchorage / Tallinn
p Are there days when {x} has lower temperatures than {y}?
s Is it at times colder in {x} than in {y}?
- swap: Is it ever colder in {y} than in {x}?
- antonym: Is it ever hotter in {x} than in {y}?
- scope: Is it always colder in {x} than in {y}?
- topic: Is it ever windier in {x} than in {y}?

chat: How do I get from {x} to {y} by public transport?
x = Heathrow / Gatwick # entity
y = Oxford / Cambridge
p I land at {x} and have to reach {y} without a car. Which buses or trains do I take?
s How can I travel from {x} to {y} by public transport?
r By public transport, how do I get from {x} to {y}?
- swap: How do I get from {y} to {x} by public transport?
- entity: How do I get from {x} to {y} by taxi?
- antonym: How do I avoid public transport from {x} to {y}?
- scope: What is the last bus from {x} to {y}?
- constraint: How do I get from {x} to {y} by public transport after midnight?

chat: What is a good substitute for {x} in a curry?
x = coconut milk / fish sauce # entity
p I've run out of {x} for my curry. What could I take in its place?
s What's a good replacement for {x} in a curry?
r In a curry, what is a good substitute for {x}?
- negation: What is not a good substitute for {x} in a curry?
- constraint: What is a good substitute for {x} in a curry for vegans with a soy allergy?
- quantity: How much {x} is good in a curry?

chat: How do I keep cut flowers fresh for {x}?
x = ten days / ten hours # unit
p What can I do so that cut flowers last for {x}?
s How can I make cut flowers stay fresh for {x}?
r For {x}, how do I keep cut flowers fresh?
- antonym: How do I dry cut flowers within {x}?
- entity: How do I keep cut herbs fresh for {x}?
- constraint: How do I keep cut flowers fresh for {x} without a vase?

chat: Tell me a joke about {x}.
x = accountants / penguins # topic
p I need a good laugh. Do you have a joke in which {x} appear?
s Crack a joke about {x}.
- antonym: Tell me a sad story about {x}.
- constraint: Tell me a joke about {x} that has just one line.
- quantity: Tell me five jokes about {x}.
- negation: Tell me a joke that is not about {x}.
- entity: Tell me a fact about {x}.

chat: Correct the grammar of this sentence: "{x}"
x = He don't knows where the keys is. / Me and her was late yesterday. # topic
p What would this sentence be in correct English? "{x}"
s Fix the grammar of this sentence: "{x}"
- antonym: Put one more grammar mistake into this sentence: "{x}"
- topic: Correct the tone of this sentence: "{x}"
- constraint: Correct the grammar of this sentence and name each mistake: "{x}"
- quantity: How many grammar mistakes does this sentence have? "{x}"

chat: Translate "{x}" from {y} to English.
x = Smacznego / Bon voyage # topic
y = Polish / French
p What does the phrase "{x}" mean if I put it from {y} into English?
s Render "{x}" from {y} in English.
r From {y} to English, translate "{x}".
- entity: Translate "{x}" from {y} to Korean.
- constraint: Translate "{x}" from {y} to English word by word.
- antonym: What does one answer to "{x}" in {y}?

chat: Write a two-star review of a {x}.
x = campsite / karaoke bar # entity
p I'd give a {x} two stars. Word the review for me.
s Compose a two-star review of a {x}.
n Write a 2-star review of a {x}.
- number: Write a four-star review of a {x}.
- antonym: Write the owner's answer to a two-star review of a {x}.
- constraint: Write a two-star review of a {x} in fewer than thirty words.
- scope: Write the last sentence of a two-star review of a {x}.
- negation: Write a two-star review of a {x} that does not mention the staff.

chat: Who was taller, {x} or {y}?
x = Abraham Lincoln / Napoleon # entity
y = Charles de Gaulle / Admiral Nelson
p Which of the two had the greater height, {x} or {y}?
r {x} or {y}: who was taller?
- antonym: Who was shorter, {x} or {y}?
- topic: Who lived longer, {x} or {y}?
- subject: Whose wife was taller, that of {x} or that of {y}?

chat: What is the tallest {x} in Asia?
x = building / volcano / statue # entity
p In Asia, which {x} rises above all others?
s What's the {x} of the greatest height in Asia?
r In Asia, what is the tallest {x}?
- scope: What is the oldest {x} in Asia?
- quantity: Name the ten tallest {x}s in Asia.
- negation: Which tall {x} in Asia is not the tallest, although many think so?
- swap: What is taller than the tallest {x} in Asia?

chat: Can my cat and my {x} share a room?
x = hamster / parrot # entity
p Is it safe to keep my cat in one room with my {x}?
s May my cat and my {x} live in the same room?
- negation: Why can my cat and my {x} not share a room?
- modality: Must my cat and my {x} share a room to get used to each other?
- subject: Can my cat and my neighbour's {x} share a room?
- quantity: Can my four cats and my {x} share a room?
- topic: Can my cat and my {x} share a bowl?

chat: It is {x} p.m. in Manila. Is it morning in Lima?
x = 3 / 9 # number
p At {x} p.m. Manila time, is it morning in Lima?
s It's {x} p.m. in Manila. Is it the morning in Lima?
r Is it morning in Lima when it is {x} p.m. in Manila?
- date: It is {x} a.m. in Manila. Is it morning in Lima?
- swap: It is {x} p.m. in Lima. Is it morning in Manila?
- antonym: It is {x} p.m. in Manila. Is it evening in Lima?
- entity: It is {x} p.m. in Manila. Is it morning in Nairobi?

chat: I have 100,000 euros. How do I invest it for {x}?
x = three years / three decades # unit
p How should I put 100,000 euros to work over {x}?
s I've got 100,000 euros. How can I invest this for {x}?
n I have 100000 euros. How do I invest it for {x}?
- number: I have 10,000 euros. How do I invest it for {x}?
- antonym: I owe 100,000 euros. How do I pay it back over {x}?
- constraint: I have 100,000 euros. How do I invest it for {x} without any risk?
- unit: I have 100,000 rupees. How do I invest it for {x}?
"""
