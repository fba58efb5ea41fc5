INTENTS = r"""
code: How do I read a text file line by line in {x}?
x = Java / Kotlin / Perl # entity
p In {x}, what is the way to go through the lines of a text file one at a time?
s How can I read a text file one line at a time in {x}?
r In {x}, how do I read a text file line by line?
- antonym: How do I write a text file line by line in {x}?
- scope: How do I read only the last line of a text file in {x}?
- unit: How do I read a text file byte by byte in {x}?
< constraint: How do I read a gzipped text file line by line in {x}?
- negation: How do I skip a text file's empty lines in {x}?

code: How do I sort a list of strings by length in {x}?
x = Haskell / Swift / Elixir # entity
p I have strings in a list in {x} and want the order to follow their length. How?
s How can I order a list of strings by their length in {x}?
r In {x}, how do I sort a list of strings by length?
- topic: How do I sort a list of strings by last letter in {x}?
- antonym: How do I shuffle a list of strings of one length in {x}?
- constraint: How do I sort a list of strings by length in {x}, longest first?
- scope: How do I find the longest string in a list in {x}?
- negation: How do I sort a list of strings regardless of length in {x}?

code: Why does `{x}` raise an error in Python?
x = "1" + 1 / [1, 2][2] / {}["key"] # code
p What is wrong with `{x}`, so that Python raises an error?
s Why does `{x}` throw an exception in Python?
r In Python, why does `{x}` raise an error?
- negation: Why does `{x}` not raise an error in Python when it is in a `try` block?
- entity: Why does `{x}` raise no error in JavaScript?
- modality: Should I catch the error that `{x}` raises in Python?

code: What does `{x}` do in Python?
x = a[::-1] / a[1:] / a[:1] / a[-1:] # code
p In Python, what is the effect of writing `{x}`?
s What is the meaning of `{x}` in Python?
r In Python, what does `{x}` do?
- entity: What does `{x}` do in Julia?
- modality: When should I use `{x}` in Python?
- code: What does `{x} = b` do in Python?

code: How do I swap two variables in {x}?
x = C / Lua / Fortran # entity
p In {x}, how can two variables trade their values?
s How can I exchange the values of two variables in {x}?
r In {x}, how do I swap two variables?
n How do I swap 2 variables in {x}?
- topic: How do I compare two variables in {x}?
- constraint: How do I swap two variables in {x} without a third one?
- quantity: How do I rotate three variables in {x}?
- negation: Why are my two variables not swapped by a function call in {x}?

code: How do I encode a string as Base64 in {x}?
x = PHP / C# / Dart # entity
p In {x}, what turns a string into its Base64 form?
s How can I convert a string to Base64 in {x}?
r In {x}, how do I encode a string as Base64?
- antonym: How do I decode a Base64 string in {x}?
- entity: How do I encode a string as hexadecimal in {x}?
- code: How do I encode a string as `base64url` in {x}?
- constraint: How do I encode a string as Base64 in {x} without padding?

code: How do I check whether a {x} is empty in JavaScript?
x = Map / typed array / plain object # entity
p In JavaScript, what tells me that a {x} has nothing in it?
s How can I test if a {x} has no elements in JavaScript?
r In JavaScript, how do I check whether a {x} is empty?
- antonym: How do I empty a {x} in JavaScript?
- topic: How do I check whether a {x} is frozen in JavaScript?
- modality: Must I check whether a {x} is empty in JavaScript before I iterate over it?

code: When do I need `{x}` rather than `{y}` in CSS?
x = margin / em / display: none # code
y = padding / rem / visibility: hidden
p For what does one use `{x}` and not `{y}` in CSS?
s When should I choose `{x}` over `{y}` in CSS?
r In CSS, when do I need `{x}` rather than `{y}`?
- swap: When do I need `{y}` rather than `{x}` in CSS?
- antonym: When may I use `{x}` together with `{y}` in CSS?
- scope: What does `{x}` alone mean in CSS?
- modality: Can a theme forbid `{x}` or `{y}` in CSS?

code: How do I {x} in a Rust vector?
x = find the maximum / remove duplicates / reverse the elements # topic
p What is the Rust way to {x} in a vector?
s How can I {x} in a Rust `Vec`?
r In a Rust vector, how do I {x}?
- entity: How do I {x} in a Fortran array?
- scope: How do I {x} in the first half of a Rust vector?
- negation: Why can I not {x} in a Rust vector that is borrowed?

code: Write a regular expression that matches {x}.
x = an IPv4 address / a hex color / a German postcode # entity
p I need a regex for {x}. What would it be?
s Write a regex that matches {x}.
- negation: Write a regular expression that matches everything but {x}.
- quantity: Write a regular expression that matches a comma-separated list, each part of which is {x}.
- scope: Write a regular expression that matches {x} only at the end of a line.
- modality: Should one use a regular expression to match {x}?
- antonym: Write a program that generates {x} at random.
"""
