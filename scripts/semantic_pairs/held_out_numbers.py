INTENTS = r"""
faq: What do I pay for a parking space for {x} in the city garage?
x = two hours / nine hours / two weeks # number
p How expensive is it to leave my car in the city garage for {x}?
s How much is a parking space for {x} in the city garage?
r In the city garage, what do I pay for a parking space for {x}?
- number: What do I pay for a parking space for half an hour in the city garage?
- entity: What do I pay for a parking space for {x} at the ferry port?
- subject: What do disabled drivers pay for a parking space for {x} in the city garage?
- antonym: What do I earn if I let my parking space for {x} in the city garage?
- modality: Can I book a parking space for {x} in the city garage?

faq: How much electricity does a fridge of class {x} use in a {y}?
x = B / D / F # entity
y = year / month / day
p What is the consumption of a class {x} fridge over a {y}?
s How much power does a fridge of class {x} consume in a {y}?
r In a {y}, how much electricity does a fridge of class {x} use?
- number: How much electricity do two fridges of class {x} use in a {y}?
- antonym: How much electricity does a fridge of class {x} save in a {y} against an old one?
- topic: How much water does a washing machine of class {x} use in a {y}?
- unit: How much electricity does a fridge of class {x} use in an hour?
- entity: How much electricity does a dishwasher of class {x} use in a {y}?

chat: What is the cube root of {x}?
x = 64 / 216 / 729 / 1,331 # number
p Which number has {x} as its cube?
s How much is the cube root of {x}?
r {x}: what is its cube root?
- number: What is the fifth root of {x}?
- swap: Of which number is {x} the cube root?
- antonym: What is the cube of {x}?
- unit: What is the side in inches of a cube of {x} cubic centimeters?

chat: If I walk {x} km at {y} km an hour, how long does it take me?
x = 6 / 15.5 / 22 # number
y = 4.5 / 4 / 5.5
p I walk at a speed of {y} km an hour. How long is it until I have covered {x} km?
s How much time do I need to walk {x} km at {y} km an hour?
r How long does it take me to walk {x} km if my speed is {y} km an hour?
- number: If I walk {x} km at 3 km an hour, how long does it take me?
- unit: If I walk {x} miles at {y} km an hour, how long does it take me?
- swap: If I walk {x} hours at {y} km an hour, how far do I get?
< constraint: If I walk {x} km at {y} km an hour with two breaks of twenty minutes, how long does it take me?

chat: Name {x} rivers that flow into the {y}.
x = three / five # number
y = Baltic Sea / Black Sea
p Which are {x} rivers that have their mouth in the {y}?
s List {x} rivers that empty into the {y}.
r Rivers that flow into the {y}: name {x}.
- number: Name twelve rivers that flow into the {y}.
- negation: Name {x} rivers near the {y} that do not flow into it.
- entity: Name {x} cities that lie on the {y}.
- scope: Name the longest river that flows into the {y}.

code: How many bytes does {x} take in {y}?
x = an `int64` / an emoji / a `bool` # entity
y = Go / UTF-8 / NumPy
p What is the size in bytes of {x} in {y}?
s How many bytes are needed for {x} in {y}?
r In {y}, how many bytes does {x} take?
- unit: How many bits does {x} take in {y}?
- number: How many bytes do 4,096 values take in {y}, each of them {x}?
- modality: How many bytes should a protocol reserve for {x} in {y}?
- negation: Why does the size of {x} in {y} not depend on the machine?

code: How do I round 3.14159 to {x} decimal places in {y}?
x = two / three / four # number
y = Python / Go / JavaScript
p In {y}, I have 3.14159 and want to keep {x} decimal places, rounded. How?
s How can I round 3.14159 to {x} decimals in {y}?
r In {y}, how do I round 3.14159 to {x} decimal places?
- number: How do I round 3.14159 to zero decimal places in {y}?
- antonym: How do I cut 3.14159 off after {x} decimal places in {y} and not round it?
- unit: How do I round 3.14159 to {x} significant digits in {y}?
- quantity: How do I round a list of numbers to {x} decimal places in {y}?

code: How do I retry an HTTP request {x} in {y}?
x = three times / eight times # number
y = Go / Ruby
p In {y}, an HTTP request may fail. How do I have it tried again up to {x}?
s How can I repeat a failed HTTP request {x} in {y}?
r In {y}, how do I retry an HTTP request {x}?
- number: How do I retry an HTTP request just once in {y}?
- negation: How do I make sure that {y} does not retry an HTTP request {x}?
- constraint: How do I retry an HTTP request {x} in {y} with growing pauses?
- entity: How do I retry a database query {x} in {y}?
- scope: How do I retry only the first of my HTTP requests {x} in {y}?
"""
