INTENTS = r"""
code: What does `{x}` return in JavaScript?
x = 0 === "" / 0 == "" / 0 != "" # code
p If I evaluate `{x}` in JavaScript, what comes out?
s What is the result of `{x}` in JavaScript?
r In JavaScript, what does `{x}` return?
- negation: What does `!({x})` return in JavaScript?
- entity: How does one write `{x}` in Erlang?
- modality: Should I write `{x}` in JavaScript?

code: What does the operator `{x}` do in TypeScript?
x = ?. / ?? / || / && # code
p I saw `{x}` between two expressions in TypeScript. What does this operator do?
s What is the effect of the operator `{x}` in TypeScript?
r In TypeScript, what does the operator `{x}` do?
- modality: Can I overload the operator `{x}` in TypeScript?
- negation: Which browsers do not support what `{x}` does in TypeScript?
- topic: How is the operator `{x}` of TypeScript typed on a Danish keyboard?

code: How do I wait for {x} several promises in JavaScript?
x = all of / the first of # scope
p I started several promises in JavaScript and want to wait for {x} them. What do I write?
s How can I await {x} several promises in JavaScript?
r In JavaScript, how do I wait for {x} several promises?
- negation: How do I go on without waiting for {x} several promises in JavaScript?
- antonym: How do I cancel {x} several promises in JavaScript?
- constraint: How do I wait for {x} several promises in JavaScript with a timeout?
- entity: How do I wait for {x} several threads in Ada?

code: How do I convert {x} to {y} in JavaScript?
x = a string / a JSON text / an array # entity
y = a number / an object / a set
p In JavaScript, what is the way to turn {x} into {y}?
s How can I transform {x} into {y} in JavaScript?
r In JavaScript, how do I convert {x} to {y}?
- swap: How do I convert {y} to {x} in JavaScript?
- entity: How do I convert {x} to {y} in Ruby?
- negation: How do I check in JavaScript that {x} cannot be converted to {y}?
- modality: When does JavaScript convert {x} to {y} on its own?

code: How do I convert {x} to {y} in CSS?
x = pixels / points # unit
y = inches / millimeters
p What is the conversion from {x} to {y} in CSS?
s How can I express {x} in {y} in CSS?
r In CSS, how do I convert {x} to {y}?
- swap: How do I convert {y} to {x} in CSS?
- unit: How do I convert {x} to percent in CSS?
- modality: Should I convert {x} to {y} in CSS?
- negation: When does it not make sense to convert {x} to {y} in CSS?
- scope: How do I convert all {x} of a whole site to {y} in CSS?

code: How do I store a value in the browser for {x}?
x = thirty minutes / thirty days / one session # unit
p I want the browser to remember a value for {x}. How is that done?
s How can I save a value in the browser for {x}?
r For {x}, how do I store a value in the browser?
- antonym: How do I delete a value that the browser stored for {x}?
- constraint: How do I store a value in the browser for {x} so that no script can read it?
- negation: How do I stop a site from storing a value in the browser for {x}?
- entity: How do I store a value on the server for {x}?
- modality: May a site store a value in the browser for {x} if nobody agreed?

code: How do I {x} a cookie in Express?
x = set / clear / sign # antonym
p In Express, what call do I use to {x} a cookie?
s What is the way to {x} a cookie in Express?
r In Express, how do I {x} a cookie?
- entity: How do I {x} a cookie in Django?
- quantity: How do I {x} five cookies in one Express response?
- negation: Why does Express not {x} a cookie when I call the function?
- topic: How do I test with Express code that should {x} a cookie?

code: What does `Cache-Control: {x}` tell a browser?
x = no-cache / no-store / max-age=0 / max-age=60 # code
p When a response has `Cache-Control: {x}`, what should the browser do?
s What is the meaning of `Cache-Control: {x}` for a browser?
r A browser sees `Cache-Control: {x}`. What does this tell it?
- modality: When should I send `Cache-Control: {x}` to a browser?
- negation: What happens if a browser does not obey `Cache-Control: {x}`?
- entity: How do I make nginx send `Cache-Control: {x}`?
- antonym: How do I remove `Cache-Control: {x}` from a response to a browser?

code: Which HTTP status should an API return when {x}?
x = a token has expired / a resource was created / a body is too large # topic
p What status code is right for the HTTP answer of an API if {x}?
s Which HTTP status code should an API respond with when {x}?
r When {x}, which HTTP status should an API return?
- negation: Which HTTP status should an API not return when {x}?
- entity: Which gRPC status should an API return when {x}?
- antonym: Which HTTP status makes a client believe that {x}?
- subject: What should a client do when an API says that {x}?
- constraint: Which HTTP headers should an API return when {x}?

code: Should I use {x} to {y} a user in a REST API?
x = PUT / POST / GET # code
y = update / create / look up
p Is {x} the right method in a REST API if one wants to {y} a user?
s Is {x} what I should use to {y} a user in a REST API?
r To {y} a user in a REST API, should I use {x}?
- modality: Can I use {x} to {y} a user in a REST API at all?
- entity: Should I use {x} to {y} a user in a SOAP API?
- negation: What breaks if I do not use {x} to {y} a user in a REST API?
- quantity: Should I use {x} to {y} a thousand users in a REST API?
- code: Should I use DELETE to {y} a user in a REST API?

code: How do I center a {x} with {y}?
x = div / button / table # entity
y = flexbox / CSS grid / margins
p A {x} should be in the middle of its parent, and I'd like to use {y}. How?
s How can I put a {x} in the middle with {y}?
r With {y}, how do I center a {x}?
- negation: How do I center a {x} and not use {y}?
- constraint: How do I center a {x} vertically only with {y}?
- antonym: How do I push a {x} to the edge with {y}?
- topic: How do I animate a {x} with {y}?
"""
