INTENTS = r"""
chat: Which is longer, the {x} or the {y}?
x = Danube / Amazon / Volga # entity
y = Rhine / Nile / Mekong
p Of the {x} and the {y}, which river has the greater length?
s Which has the greater length, the {x} or the {y}?
- antonym: Which is shorter, the {x} or the {y}?
- topic: How many countries do the {x} and the {y} flow through?
- scope: Which is the longest river of all, and how do the {x} and the {y} compare with it?

chat: How tall is {x} in meters?
x = Mount Kilimanjaro / Mont Blanc / Mount Fuji # entity
p What height in meters does {x} have?
s What is the height of {x} in meters?
r In meters, how tall is {x}?
- unit: How tall is {x} in feet?
- topic: How old is {x} in years?
- modality: How tall could {x} become in meters if it kept rising?
- scope: How tall is the highest hut on {x} in meters?
- date: How tall was {x} in meters during the last ice age?

chat: When was the {x} invented?
x = telescope / bicycle / zipper # entity
p In what year did somebody come up with the {x}?
s In which year was the {x} invented?
- topic: Where was the {x} invented?
- subject: Who paid the inventor of the {x}?
- scope: When was the last big improvement of the {x} invented?
- negation: Why was the {x} not invented earlier?
- antonym: When did the {x} fall out of use?

chat: What language do most people speak in {x}?
x = Suriname / Angola / Quebec # entity
p Which language has the most speakers in {x}?
s Which language is spoken by the majority in {x}?
r In {x}, what language do most people speak?
- antonym: What language do the fewest people speak in {x}?
- scope: What languages do people speak in {x} at all?
- date: What language did most people speak in {x} in 1500?
- negation: What language do most people not speak in {x} although they learn it?
- swap: In which country do most speakers of the languages of {x} live?

chat: Why is the sky {x}?
x = blue at noon / red at sunset # topic
p What makes the sky {x}?
s For which reason is the sky {x}?
- negation: Why is the sky not always {x}?
- entity: Why is the sea {x}?
- subject: Why is the sky on Mars not {x} as it is here?
- modality: Will the sky still be {x} in a million years?
- antonym: Why is the sky black at midnight?

chat: Who won the {x} World Cup in men's football?
x = 1994 / 2006 / 2018 # date
p Which national team became men's football world champion in {x}?
s Which team was the winner of the {x} men's football World Cup?
- antonym: Who lost the final of the {x} World Cup in men's football?
- topic: Who hosted the {x} World Cup in men's football?
- subject: Who scored the most goals at the {x} World Cup in men's football?
- scope: Who came third at the {x} World Cup in men's football?
- negation: Who did not qualify for the {x} World Cup in men's football?

chat: Is {x} west of {y}?
x = Madrid / Denver / Perth
y = Valencia / Chicago / Sydney
p Does {x} lie farther to the west than {y}?
s Is {x} situated west of {y}?
r Compared with {y}, is {x} to the west?
- swap: Is {y} west of {x}?
- antonym: Is {x} east of {y}?
- topic: How far is {x} from {y}?
- quantity: How many large cities lie west of both {x} and {y}?

chat: What do {x} eat in winter?
x = squirrels / red foxes / swans # entity
p Which food do {x} live on during the winter?
s What do {x} feed on in winter?
r In winter, what do {x} eat?
- date: What do {x} eat in spring?
- swap: What eats {x} in winter?
- negation: What do {x} not eat in winter?
- subject: What do young {x} eat in their first days?
- topic: Where do {x} sleep in winter?

chat: Is {x} heavier than {y}?
x = gold / cooking oil / uranium # entity
y = silver / water / lead
p If one takes equal volumes, does {x} weigh more than {y}?
s Does {x} have a higher density than {y}?
- antonym: Is {x} lighter than {y}?
- swap: Is {y} heavier than {x}?
- topic: What happens when {x} is mixed with {y}?
- negation: What makes people believe that {x} is not heavier than {y}?

chat: What is the difference between {x} and {y}?
x = weather / a virus / an alligator # entity
y = climate / a bacterium / a crocodile
p How can I tell {x} from {y}?
s How does {x} differ from {y}?
r Between {x} and {y}, what is the difference?
- antonym: What do {x} and {y} have in common?
- negation: Why do people see no difference between {x} and {y}?
- modality: Can {x} turn into {y}?
- scope: What is the most dangerous thing about {x} and about {y}?
- constraint: What is the difference between {x} and {y} in one word?

chat: How many people lived in {x} in {y}?
x = London / New York / Berlin # entity
y = 1800 / 1900 / 1925
p What was the population of {x} in {y}?
s How many inhabitants did {x} have in {y}?
r In {y}, how many people lived in {x}?
- topic: How many horses lived in {x} in {y}?
- date: How many people lived in {x} in 1950?
- modality: How many people will live in {x} in 2050?
- subject: How many children lived in {x} in {y}?
- negation: Who was not counted among the people who lived in {x} in {y}?
- unit: How many households were there in {x} in {y}?

chat: What does it mean when a dog {x}?
x = tilts its head / wags its tail to the left / yawns at you # topic
p A dog {x}. How am I to understand that?
s What does it signify when a dog {x}?
r When a dog {x}, what does it mean?
- negation: What does it mean when a dog never {x}?
- entity: What does it mean when a wolf {x}?
- modality: Can I teach a dog that it {x} when told?
- quantity: What does it mean when a whole group of dogs joins a dog that {x}?
- antonym: What does it mean when a cat ignores a dog that {x}?
"""
