INTENTS = r"""
code: What does `{x}` print in Python?
x = print("ab" * 2) / print("ab" + "2") / print("ab", 2) / print("ab"[1]) # code
p If Python runs `{x}`, what is on the screen?
s What is printed by `{x}` in Python?
- negation: When does `{x}` not print anything in Python?
- entity: How would I write `{x}` in Raku?
- antonym: How do I keep `{x}` from printing a newline in Python?

code: Does `{x}` change the list in Python?
x = reversed(items) / items.reverse() / sorted(items) / items.sort() # code
p Is the list itself modified by `{x}` in Python?
r In Python, does `{x}` change the list?
- topic: How much memory does `{x}` take in Python?
- antonym: How do I undo what `{x}` does to a list in Python?

code: What is the output of `console.log({x})`?
x = typeof null / typeof undefined / [] + [] / [10, 9, 1].sort() # code
p What does JavaScript show for `console.log({x})`?
s What's the output of `console.log({x})`?
- code: What is the output of `console.log(!({x}))`?
- negation: Why does my browser not show the output of `console.log({x})`?

code: How does `{x}` differ from `{y}` in Rust?
x = unwrap / iter() / Rc # code
y = expect / into_iter() / Arc
p In Rust, what is the difference between `{x}` and `{y}`?
s In what way is `{x}` unlike `{y}` in Rust?
- antonym: What do `{x}` and `{y}` share in Rust?
- modality: When must I use `{x}` and not `{y}` in Rust?
- scope: Which is faster in Rust, `{x}` or `{y}`, or is neither?

code: Does `{x}` compile in Rust?
x = let x: u8 = 256; / let x: u8 = 255; / let x: i8 = 255; / let x: i8 = 127; # code
p Will the Rust compiler accept `{x}`?
r In Rust, does `{x}` compile?
- negation: How do I stop the Rust compiler from warning that `x` is not used after `{x}`?
- topic: How much stack does `{x}` take in Rust?

code: What does `{x}` return in PostgreSQL?
x = SELECT COUNT(*) FROM t / SELECT COUNT(a) FROM t / SELECT COUNT(DISTINCT a) FROM t # code
p In PostgreSQL, what is the result of `{x}`?
s What do I get from `{x}` in PostgreSQL?
- topic: What index makes `{x}` fast in PostgreSQL?
- antonym: How do I cancel `{x}` in PostgreSQL while it runs?
- code: What does `EXPLAIN {x}` return in PostgreSQL?

code: Which rows does `WHERE age {x} 30` select?
x = < / <= / > / <> # code
p If my query ends with `WHERE age {x} 30`, which rows come out?
s What rows are selected by `WHERE age {x} 30`?
- negation: Which rows does `WHERE NOT age {x} 30` select?
- number: Which rows does `WHERE age {x} 13` select?
- entity: Which rows does `WHERE height {x} 30` select?
- antonym: Which rows does `DELETE ... WHERE age {x} 30` leave?

code: What does `git diff {x}` compare?
x = main / --staged / main~1 / a..b # code
p Between what and what does `git diff {x}` show the changes?
s What is compared by `git diff {x}`?
- antonym: How do I apply the output of `git diff {x}`?
- constraint: How do I make `git diff {x}` compare with white space ignored?
- modality: Can `git diff {x}` be empty?

code: How do I push a branch to two remotes in git?
p In git, one branch should go to a pair of remotes. What do I run?
s How can I push a branch to two remotes in git?
n How do I push a branch to 2 remotes in git?
- swap: How do I push two branches to a remote in git?
- number: How do I push a branch to three remotes in git?
- antonym: How do I pull a branch from two remotes in git?
- negation: How do I keep a branch from being pushed to two remotes in git?

code: What does `sed '{x}' notes.txt` do?
x = s/a/b/ / s/a/b/g / 3d / $d # code
p If I run `sed '{x}' notes.txt`, what happens to the text?
s What is the effect of `sed '{x}' notes.txt`?
- code: What does `sed -i '{x}' notes.txt` do?
- antonym: How do I undo `sed '{x}' notes.txt > notes.txt`?
- constraint: What does `sed '{x}' notes.txt` do if that file is empty?

code: What is the difference between `{x}` and `{y}` on Linux?
x = rm -r / kill -9 / cp -p # code
y = rm -R / kill -15 / cp -P
p On Linux, how does `{x}` differ from `{y}`, if it does?
s Is there a difference between `{x}` and `{y}` on Linux, and which?
- modality: Do I have to be root for `{x}` or `{y}` on Linux?
- negation: Why does neither `{x}` nor `{y}` work on my Linux?

code: In cron, when does `{x}` run?
x = 0 5 * * * / 5 0 * * * / */5 * * * * / 0 5 * * 1 # date
p At what times does a cron line with `{x}` start its command?
s When is a job with `{x}` run by cron?
r When does `{x}` run in cron?
- negation: In cron, why does my job with `{x}` not run?
- scope: In cron, when does `{x}` run for the last time in a year?
- constraint: In cron, when does `{x}` run if the server is on UTC and I am in Tokyo?

code: How do I get the date {x} in bash?
x = two days ago / in two days / two weeks ago # date
p What bash command prints the date {x}?
s How can I obtain the date {x} in bash?
r In bash, how do I get the date {x}?
- entity: How do I get the date {x} in PowerShell?
- unit: How do I get the date {x} in bash as seconds since 1970?
- antonym: How do I set the clock to the date {x} in bash?
- quantity: How do I get every date from today to the one {x} in bash?

code: How do I convert a UTC timestamp to {x} in Python?
x = Tokyo time / Berlin time # date
p I have a timestamp in UTC. What Python code shows it in {x}?
s How can I turn a UTC timestamp into {x} in Python?
r In Python, how do I convert a UTC timestamp to {x}?
- swap: How do I convert {x} to a UTC timestamp in Python?
- entity: How do I convert a UTC timestamp to {x} in Erlang?
- quantity: How do I convert a column of UTC timestamps to {x} in Python?
- negation: How do I write {x} in Python without a UTC timestamp?

code: What does the regex `{x}` match in a text file?
x = \d{3} / \d{3,} / \D{3} / \w{3} # code
p In a text file, what is found by the regex `{x}`?
s Which parts of a text file does the regular expression `{x}` match?
- negation: What does the regex `{x}` not match in a text file?
- scope: What does the regex `{x}` match first in a text file with many digits?
- constraint: What does the regex `{x}` match in a text file without digits?

code: Which HTTP method should I use to {x}?
x = delete an image / replace a profile / check that a page exists # topic
p I want to {x} over HTTP. Which method is the right one?
s What is the correct HTTP method to {x}?
r To {x}, which HTTP method should I use?
- negation: Which HTTP method should I not use to {x}?
- entity: Which FTP command should I use to {x}?
- subject: Which users should be allowed to {x} over HTTP?

code: How do I limit an upload to {x} in nginx?
x = 20 MB / 20 GB / 20 kB # unit
p Uploads of more than {x} should be refused by nginx. What setting does that?
s How can I restrict uploads to {x} in nginx?
r In nginx, how do I limit an upload to {x}?
- antonym: How do I allow an upload beyond {x} in nginx?
- topic: How do I limit a download to {x} per second in nginx?
- entity: How do I limit an upload to {x} in Caddy?
- scope: How do I limit an upload to {x} for only one path in nginx?

code: How do I allow traffic to port {x} with `ufw`?
x = 443 / 4443 / 8443 # number
p With `ufw`, what opens port {x}?
s How can I permit traffic to port {x} with `ufw`?
r With `ufw`, how do I allow traffic to port {x}?
- antonym: How do I block traffic to port {x} with `ufw`?
- swap: How do I allow traffic from port {x} with `ufw`?
- constraint: How do I allow traffic to port {x} with `ufw` from one address only?
- entity: How do I allow traffic to port {x} with `nftables`?

code: How do I upgrade Node from {x} to {y}?
x = 18 / 20 # number
y = 20 / 22
p My machine has Node {x}. How do I get it to {y}?
s How can I update Node from version {x} to version {y}?
r From {x} to {y}, how do I upgrade Node?
- swap: How do I downgrade Node from {y} to {x}?
- entity: How do I upgrade Electron from {x} to {y}?
- negation: What does not work any more after upgrading Node from {x} to {y}?
- scope: How do I upgrade Node from {x} to {y} for a single project?

code: How do I read `{x}` from an environment variable in {y}?
x = API_KEY / DB_HOST # entity
y = Node / Rust
p In {y}, how do I get the value of the environment variable `{x}`?
s How can I load `{x}` from an environment variable in {y}?
r In {y}, how do I read `{x}` from an environment variable?
- antonym: How do I set `{x}` as an environment variable from {y}?
- constraint: How do I read `{x}` from an environment variable in {y} with a fallback value?
- topic: How do I read `{x}` from a command line flag in {y}?
- negation: How do I make {y} fail if the environment variable `{x}` is not set?

code: What is the type of `{x}` in TypeScript?
x = [1, "a"] / [1, "a"] as const / [] / {} # code
p Which type does TypeScript infer for `{x}`?
s What's the type of `{x}` in TypeScript?
r In TypeScript, what is the type of `{x}`?
- code: What is the type of `typeof {x}` in TypeScript?
- constraint: What is the type of `{x}` in TypeScript when `strict` is off?

code: Can a Python {x} be used as a dictionary key?
x = tuple / set / frozenset # entity
p Am I able to use a {x} as the key of a dictionary in Python?
s Is a {x} allowed as a dictionary key in Python?
r As a dictionary key, can a Python {x} be used?
- swap: Can a dictionary be an element of a Python {x}?
- entity: Can a Python {x} be used as a dictionary value?
- constraint: Can a Python {x} that contains lists be used as a dictionary key?

code: I've got 1,000 rows to insert into SQLite. What is the fastest way?
p How do I get 1,000 rows into SQLite with the least time spent?
s I've got 1,000 rows to insert into SQLite. What is the quickest way?
r What is the fastest way to insert the 1,000 rows I've got into SQLite?
n I've got 1000 rows to insert into SQLite. What is the fastest way?
- antonym: I've got 1,000 rows to delete from SQLite. What is the fastest way?
- topic: I've got 1,000 rows to insert into SQLite. What is the safest way?
- entity: I've got 1,000 rows to insert into DuckDB. What is the fastest way?
- negation: I've got 1,000 rows that SQLite does not insert. What is the reason?
- number: I've got 10 rows to insert into SQLite. What is the fastest way?
"""
