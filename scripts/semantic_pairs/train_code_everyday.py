INTENTS = r"""
code: How do I reverse a string in {x}?
x = Scala / Clojure # entity
p In {x}, what gives me the characters of a string from the last to the first?
s How can I reverse a string in {x}?
- negation: How do I check in {x} that a string does not change when it is reversed?
- topic: How do I repeat a string in {x}?
- scope: How do I reverse only the first half of a string in {x}?
- entity: How do I reverse an array in {x}?

code: What is the time complexity of {x} in the worst case?
x = quicksort / merge sort # entity
p In the worst case, how does the running time of {x} grow with its input?
s What is the worst-case time complexity of {x}?
- scope: What is the time complexity of {x} in the best case?
- topic: What is the space complexity of {x} in the worst case?
- modality: When should one use {x}, given its worst case?

code: Why is `0.1 + 0.2 == 0.3` false?
p What is the reason that `0.1 + 0.2 == 0.3` does not hold?
s Why isn't `0.1 + 0.2 == 0.3` true?
- code: Why is `0.1 + 0.2 > 0.3` true?
- antonym: Why is `0.5 + 0.25 == 0.75` true?
- modality: How should I compare `0.1 + 0.2` with `0.3`?
- entity: Why is `0.1 + 0.2 == 0.3` true in COBOL?

code: What does `for (i = 0; i < n; i++)` loop over?
p Which values does `i` take in `for (i = 0; i < n; i++)`?
s Over what does `for (i = 0; i < n; i++)` iterate?
- code: What does `for (i = 0; i <= n; i++)` loop over?
- code: What does `for (i = 1; i < n; i++)` loop over?
- code: What does `for (i = 0; i < n; i--)` loop over?
- modality: Can I change `i` inside `for (i = 0; i < n; i++)`?
- topic: How fast is `for (i = 0; i < n; i++)`?

code: What is `arr[i]` in C when `i` is negative?
p If `i` is below zero in C, what does `arr[i]` give?
r When `i` is negative, what is `arr[i]` in C?
- antonym: What is `arr[i]` in C when `i` is positive?
- code: What is `&arr[i]` in C when `i` is negative?
- modality: May `i` be negative in `arr[i]` in C when `arr` is a pointer into an array?
- entity: What is `arr[i]` in Nim when `i` is negative?

code: What does `ls {x}` show?
x = -a / -A / -l / -1 # code
p If I run `ls {x}`, what do I see?
s What does `ls {x}` display?
- negation: What does `ls` show without `{x}`?
- modality: When is `ls {x}` of use?

code: How do I install a package in editable mode with `pip`?
p I'd like to use a package straight from its source folder. What do I type so that `pip` installs it as editable?
s How can I install a package as editable with `pip`?
- antonym: How do I uninstall a package that is in editable mode with `pip`?
- constraint: How do I install a package in editable mode with `pip` without its dependencies?
- topic: How do I download a package with `pip`?
- quantity: How do I install four packages in editable mode with one `pip` command?

code: How do I disable a lint rule for a single line in ESLint?
p There's one line for which ESLint should skip a rule. What do I write?
s How can I turn off a lint rule for a single line in ESLint?
- antonym: How do I enable a lint rule for a single folder in ESLint?
- scope: How do I disable a lint rule for a whole file in ESLint?
- entity: How do I disable a lint rule for a single line in Pylint?
- subject: How do I forbid my team to disable a lint rule for a single line in ESLint?

code: How do I find rows in SQL whose name starts with "Mc"?
p Which SQL condition selects the rows with a name that begins with "Mc"?
s How can I find rows in SQL whose name begins with "Mc"?
- antonym: How do I find rows in SQL whose name ends with "Mc"?
- negation: How do I find rows in SQL whose name does not start with "Mc"?
- code: How do I find rows in SQL whose name starts with "mC"?
- constraint: How do I find rows in SQL whose name starts with "Mc" or "mc", ignoring case?

code: How do I sort SQL results from the {x}?
x = newest to the oldest / cheapest to the dearest # scope
p I want the rows of my SQL query in order, from the {x}. What do I add?
s How can I order SQL results from the {x}?
- negation: How do I keep SQL from sorting results from the {x}?
- constraint: How do I sort SQL results from the {x} with missing values at the end?
- quantity: How do I sort SQL results from the {x} and show five?

code: How do I extract a `.tar.gz` archive on the command line?
p On the command line, which command unpacks a `.tar.gz` file?
s How can I unpack a `.tar.gz` archive on the command line?
- antonym: How do I create a `.tar.gz` archive on the command line?
- code: How do I extract a `.tar.xz` archive on the command line?
- topic: How do I list the content of a `.tar.gz` archive on the command line?
- scope: How do I extract a single file of a `.tar.gz` archive on the command line?

code: Which process listens on port {x} of my machine?
x = 3000 / 3030 # number
p Port {x} is taken on my machine. How do I find out by which process?
s What process is listening on port {x} of my machine?
- antonym: Which process connects to port {x} of other machines?
- modality: Which processes may listen on port {x} of my machine?
- negation: Why does no process listen on port {x} of my machine?
- topic: How do I open port {x} in the firewall of my machine?

code: How do I escape a {x} in a regular expression?
x = dot / question mark # entity
p In a regular expression, what do I write to get a literal {x}?
s How can I escape a {x} in a regex?
- negation: When does a {x} in a regular expression not have to be escaped?
- topic: What does an unescaped {x} mean in a regular expression?
- quantity: How do I match three of the character {x} in a row in a regular expression?

code: How do I send a JSON body with `fetch`?
p With `fetch`, what do I have to pass so that the request carries JSON?
s How can I post JSON in a request with `fetch`?
- antonym: How do I read a JSON body with `fetch`?
- topic: How do I send a form with a file with `fetch`?
- entity: How do I send a JSON body with `axios`?
- negation: Why does `fetch` not send my JSON body?
- constraint: How do I send a JSON body with `fetch` and a timeout of two seconds?

code: What is the difference between `{x}` and `{y}` in Java?
x = int / throw # code
y = Integer / throws
p In Java, what sets `{x}` apart from `{y}`?
s How is `{x}` different from `{y}` in Java?
- antonym: In what are `{x}` and `{y}` alike in Java?
- modality: When must I write `{x}` and not `{y}` in Java?
- scope: What does `{y}` mean in Java, leaving `{x}` aside?

code: How do I make a field optional in a Rust struct?
p A field of my Rust struct may be absent. How do I declare it?
s How can I make a field of a struct optional in Rust?
- antonym: How do I make a field mandatory in a Rust struct that is parsed from JSON?
- topic: How do I make a field private in a Rust struct?
- entity: How do I make a field optional in a Zig struct?
- scope: How do I make all fields optional in a Rust struct?
- negation: How do I check that an optional field in a Rust struct is not absent?

code: Write a unit test for a function that {x}.
x = parses a duration / splits a bill # topic
p I have a function that {x}. Please give me a unit test for it.
s Write a unit test of a function that {x}.
- antonym: Write a function that {x} and passes this unit test.
- entity: Write a benchmark for a function that {x}.
- constraint: Write a unit test for a function that {x} without mocks.
- quantity: Write ten unit tests for a function that {x}.
"""
