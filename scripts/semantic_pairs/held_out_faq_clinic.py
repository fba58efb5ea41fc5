INTENTS = r"""
faq: Can I eat before a {x}?
x = blood test / stomach scan / hearing test # entity
p Is it all right to have food before a {x}?
s Am I allowed to eat before a {x}?
r Before a {x}, can I eat?
- antonym: Can I eat after a {x}?
- modality: Should I eat before a {x}?
- topic: Can I smoke before a {x}?
- negation: What if I did not eat before a {x}?
- subject: Can my cat eat before a {x} at the vet?

faq: What is the usual dose of {x} for an adult?
x = paracetamol / ibuprofen / cough syrup # entity
p How much {x} does a grown-up normally take?
s What is the standard dose of {x} for a grown-up?
r For an adult, what is the usual dose of {x}?
- subject: What is the usual dose of {x} for a child?
- scope: What is the highest safe dose of {x} for an adult?
- topic: What are the usual side effects of {x} for an adult?
- negation: Which adults should not take the usual dose of {x}?
< constraint: What is the usual dose of {x} for an adult with kidney disease?

faq: How do I renew a prescription without seeing the doctor?
p Can I get my prescription extended without an appointment, and how do I do that?
r Without seeing the doctor, how do I renew a prescription?
- antonym: How do I see the doctor without a prescription?
- subject: How do I renew my husband's prescription without him seeing the doctor?
- topic: How do I renew a sick note without seeing the doctor?
- modality: May a doctor refuse to renew a prescription?
- negation: Why can I not renew a prescription without seeing the doctor?

faq: Which vaccines does my {x} need?
x = two-month-old baby / teenage son / pregnant sister # subject
p What should my {x} be vaccinated against?
s Which vaccinations does my {x} require?
- negation: Which vaccines must my {x} not get?
- topic: Which vitamins does my {x} need?
< constraint: Which vaccines does my {x} need for a journey to Brazil?
- scope: Which vaccine does my {x} need first?
- modality: Can my {x} refuse vaccines?

faq: What are the visiting hours of the {x} ward?
x = maternity / heart / children's # entity
p When may I visit somebody on the {x} ward?
s At what times are visits to the {x} ward allowed?
r The {x} ward: what are its visiting hours?
- topic: What are the quiet hours of the {x} ward?
- date: What are the visiting hours of the {x} ward on public holidays?
- subject: What are the working hours of nurses on the {x} ward?
- negation: Who may not come during the visiting hours of the {x} ward?
- quantity: How many visitors at a time may come during the visiting hours of the {x} ward?

faq: Do I need a referral to see {x}?
x = a skin specialist / a psychologist / an eye surgeon # entity
p Can I only see {x} if another doctor refers me?
s Is a referral necessary for an appointment with {x}?
r To see {x}, do I need a referral?
- swap: Can I get a referral from {x} to another doctor?
- negation: What will {x} do if I come with no referral?
- modality: Can I ask for a referral to see {x}?
- topic: Do I need a deposit to see {x}?
- subject: Does my baby need a referral to see {x}?

faq: My test results say {x}. What does that mean?
x = that iron is low / that iron is high / that a sample was lost # antonym
p How am I to understand it when my test results say {x}?
s My lab results say {x}. What is the meaning of that?
r What does it mean when my test results say {x}?
- negation: My test results say nothing about iron. What does that mean?
- entity: My test results say that sugar is low. What does that mean?
- modality: My test results say {x}. May my employer know that?
- topic: My test results say {x}. What does a second test cost?

faq: How long must I wait between the {x} dose and the {y} dose?
x = first / third # scope
y = second / fourth
p What interval is required from the {x} dose to the {y} dose?
s How much time has to pass between the {x} dose and the {y} dose?
r Between the {x} dose and the {y} dose, how long must I wait?
- modality: Can I wait longer between the {x} dose and the {y} dose?
- subject: How long must a newborn wait between the {x} dose and the {y} dose?
- negation: What happens if I do not wait between the {x} dose and the {y} dose?
- antonym: How long do I stay protected after the {x} dose and the {y} dose?

faq: Is the practice open on {x}?
x = Good Friday / Labor Day / 24 December # date
p Will I find the practice open on {x}?
s Does the practice have opening hours on {x}?
r On {x}, is the practice open?
- entity: Is the pharmacy open on {x}?
- negation: Why is the practice not open on {x}?
- modality: Must the practice be open on {x}?
- subject: Is the vet's practice open on {x}?

faq: Will my insurance pay for {x} abroad?
x = an emergency operation / a dental crown / physiotherapy # entity
p If I get {x} in a foreign country, does my insurance cover it?
s Does my insurance cover {x} in another country?
r Abroad, will my insurance pay for {x}?
- antonym: Will my insurance refuse to pay for {x} abroad if I cancel?
- topic: Will my employer pay for {x} abroad?
- constraint: Will my insurance pay the full price of {x} abroad?
- date: Did my insurance pay for {x} abroad last spring?
- negation: Why will my insurance not pay for {x} abroad?
- subject: Will my insurance pay for {x} abroad if it is my daughter who needs it?
"""
