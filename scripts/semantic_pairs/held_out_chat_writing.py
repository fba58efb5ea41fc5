INTENTS = r"""
chat: Rewrite "{x}" in Shakespeare's style.
x = The shop is closed today. / I am allergic to shrimp. / Please call a doctor. # topic
p How would Shakespeare have put "{x}"?
s Rephrase "{x}" in the style of Shakespeare.
r In Shakespeare's style, rewrite "{x}".
- entity: Rewrite "{x}" in Hemingway's style.
- negation: Rewrite the negation of "{x}" in Shakespeare's style.
- constraint: Rewrite "{x}" in Shakespeare's style as a rhyming couplet.
- quantity: Rewrite "{x}" in Shakespeare's style in five different ways.
- scope: Rewrite only the first word of "{x}" in Shakespeare's style.

chat: What does the French word "{x}" mean in English?
x = pourtant / pendant / poumon # topic
p How would I say the French "{x}" in English?
s What is the English meaning of the French word "{x}"?
r In English, what does the French word "{x}" mean?
- topic: How is the French word "{x}" pronounced?
- modality: When should one use the French word "{x}" in English?
- antonym: What is the opposite of the French word "{x}" in English?
- scope: In which of the oldest French texts does the word "{x}" occur?

chat: Write a cover letter for a {x} who applies to a {y}.
x = nurse / baker # subject
y = clinic / hotel
p A {x} wants a job at a {y}. Draft the letter that goes with the application.
s Draft a cover letter for a {x} applying to a {y}.
r For a {x} who applies to a {y}, write a cover letter.
- swap: Write a letter in which a {y} turns down a {x} who applied.
- antonym: Write a resignation letter for a {x} who leaves a {y}.
< constraint: Write a cover letter in Dutch for a {x} who applies to a {y}.
- quantity: Write three different cover letters for a {x} who applies to a {y}.
- topic: Write a list of interview questions for a {x} who applies to a {y}.
- negation: Write down what should not be in a cover letter of a {x} who applies to a {y}.
- scope: Write only the first sentence of a cover letter for a {x} who applies to a {y}.

chat: Suggest a headline for an article about {x}.
x = a bridge collapse / a chess prodigy / a bee shortage # topic
p I wrote an article about {x}. What could its headline be?
s Propose a headline for an article about {x}.
r For an article about {x}, suggest a headline.
- quantity: Suggest ten headlines for an article about {x}.
- swap: Suggest an article for a headline about {x}.
- constraint: Suggest a headline without a verb for an article about {x}.
- entity: Suggest a picture for an article about {x}.
- scope: Suggest a last sentence for an article about {x}.
- negation: Name a headline that would not fit an article about {x}.

chat: Turn this sentence into the passive: "{x}"
x = The committee rejected our plan. / A neighbour found the keys. # topic
p How does this sentence read in the passive voice? "{x}"
s Put this sentence into the passive voice: "{x}"
- topic: Turn this sentence into the future tense: "{x}"
- negation: Negate this sentence: "{x}"
- entity: Turn this sentence into a question: "{x}"
- scope: Name the last word of this sentence: "{x}"
- quantity: Put the subject of this sentence into the plural: "{x}"

chat: What is the plural of "{x}"?
x = ox / crisis / cactus # topic
p If there is more than one "{x}", what is the word?
s What is the plural form of "{x}"?
- antonym: Which noun has the form "{x}" as its plural?
- topic: What is the origin of "{x}"?
- modality: Can "{x}" itself be used as a plural?
- swap: Is "{x}" the plural of another word?
- scope: What are all the meanings of "{x}"?

chat: Shorten my report to {x}.
x = 100 words / 100 lines / 100 characters # unit
p My report is too long. Make a version of it that has just {x}.
s Cut my report down to {x}.
r To {x}, shorten my report.
- antonym: Lengthen my report to {x}.
- subject: Shorten your last answer to {x}.
- constraint: Shorten my report to {x} but keep every figure in it.
- entity: Shorten my title to {x}.
- scope: Shorten only the last chapter of my report to {x}.

chat: How do I end an email to a {x}?
x = professor / stranger / close friend # subject
p What closing line is right for a message that I send to a {x}?
s How can I close an email to a {x}?
r In an email to a {x}, how do I write the ending?
- antonym: How do I begin an email to a {x}?
- negation: How do I not end an email to a {x}?
- swap: How does a {x} end an email to me?
< constraint: How do I end an email to a {x} in Swedish?
- topic: How do I end a phone call with a {x}?
- modality: Must I end an email to a {x} with my full name?

chat: Where does the comma go in a sentence that starts with "{x}"?
x = although / however / because # topic
p A sentence begins with "{x}". At what place do I put the comma?
s Where should the comma be put in a sentence that begins with "{x}"?
r In a sentence that starts with "{x}", where does the comma go?
- antonym: Where does the comma go in a sentence that ends with "{x}"?
- entity: Where does the verb go in a sentence that starts with "{x}"?
- modality: May I leave out the comma in a sentence that starts with "{x}"?
- quantity: How many commas can a sentence that starts with "{x}" have?
- negation: When is there no comma in a sentence that starts with "{x}"?

chat: Summarize {x} in one paragraph.
x = the plot of Macbeth / the theory of plate tectonics / the causes of World War I # topic
p I need a single paragraph that sums up {x}.
s Sum up {x} in a single paragraph.
r In one paragraph, summarize {x}.
n Summarize {x} in 1 paragraph.
- quantity: Summarize {x} in six paragraphs.
- constraint: Summarize {x} in one paragraph for second graders.
- entity: Summarize the criticism of {x} in one paragraph.
- unit: Summarize {x} in one word.
- scope: Summarize the most disputed part of {x} in one paragraph.
- negation: Say in one paragraph what is not part of {x}.

chat: What's a good birthday message for my {x}?
x = boss / godmother / ex-husband # subject
p My {x} has a birthday and I want to send a message. What would be good to write?
s What is a nice birthday message for my {x}?
r For my {x}, what's a good birthday message?
- antonym: What's a good farewell message for my {x}?
- swap: What's a good reply to a birthday message from my {x}?
- constraint: What's a good rhyming birthday message for my {x}?
- entity: What's a good birthday present for my {x}?
- negation: What should I not write in a birthday message for my {x}?
- date: What's a good message for my {x} on New Year's Eve?
- modality: Do I have to send a birthday message to my {x}?
"""
