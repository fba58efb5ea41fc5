//! Ways to ask: this is long as a table of them. The first row that matches counts, so that what is narrower stands before what is wider.

use std::sync::LazyLock;

use super::rules::Rules;

/// Applied where a sentence begins.
pub(super) static FRAMES: LazyLock<Rules> = LazyLock::new(|| {
    let lines = TABLE
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    Rules::new(lines.filter_map(|line| line.split_once(" => ")))
});

/// What a pattern leaves behind an arrow; a line that begins with `#` says what the lines below it are.
const TABLE: &str = "
    # What is said before a question.
    can|could|would|will you tell|show|explain|teach me|us? how to => =?how:
    can|could|would|will|might you kindly|possibly|maybe|perhaps? tell|remind|inform me $WH => tell me $1
    can|could|would|will|might you kindly|possibly|maybe|perhaps? let me know $WH => tell me $1
    would|do you mind telling|explaining|reminding me? $WH => tell me $1
    would|are you be? able|willing to tell me $WH => tell me $1
    would|could you be so? kind|good enough|as? to tell me $WH => tell me $1
    would|do|might you happen? to? know $WH => tell me $1
    please|kindly please|kindly? tell|remind|inform me $WH => tell me $1
    please|kindly let me know $WH => tell me $1
    does|do anyone|anybody|someone|somebody happen? to? know $WH => tell me $1
    can|could|would|will anyone|anybody|someone|somebody please|kindly? tell me $WH => tell me $1
    can|could|may|might i just? ask|know|find out? $WH => tell me $1
    is|would it be? possible for? you? to tell|know|ask|learn me? $WH => tell me $1
    i would be very? grateful|thankful|glad|happy|pleased if you can|could|would tell me $WH => tell me $1
    i would be very? grateful|glad|happy|interested|curious|keen to know|learn|hear $WH => tell me $1
    i would appreciate it? if you can|could|would tell me $WH => tell me $1
    it would be great|nice|good|helpful|kind|lovely if you can|could|would tell me $WH => tell me $1
    i am trying|looking|hoping to find|work|figure out $WH => tell me $1
    i am trying|looking|hoping to know|learn|understand $WH => tell me $1
    i was hoping you can|could|would tell me $WH => tell me $1
    i would like you to tell me $WH => tell me $1
    i? just? wanted|want to ask|know|check|find out? $WH => tell me $1
    i have no idea|clue $WH => tell me $1
    i am not sure|certain $WH => tell me $1
    i have a? question|questions about? $WH => tell me $1
    my question is $WH => tell me $1
    what i want|need|would|wanted like? to know is $WH => tell me $1
    remind|inform me $WH => tell me $1
    do tell me $WH => tell me $1
    can|could|would|will you explain to me => explain
    can|could|would|will you $DO => $1
    i need|want you to $DO => $1
    i would like you to $DO => $1
    do you remember $WH => tell me $1
    do you have any? idea $WH => tell me $1
    any idea $WH => tell me $1
    i would like|love to know|learn|understand|ask $WH => tell me $1
    i want|need|wish to know|learn|understand|ask $WH => tell me $1
    i am|was just? wondering|curious|interested $WH => tell me $1
    i just? wonder|wondered $WH => tell me $1
    i do not know|understand $WH => tell me $1
    explain|show to? me|us how to => =?how:
    explain|show to? me $what|why|how => tell me $1
    explain $why|how => tell me $1
    let me know $WH => tell me $1
    help me understand $WH => tell me $1
    find out $WH => tell me $1
    tell|teach|show me how to => =?how:
    tell me how i|one|we can|could|might|should? => =?how:
    tell me how * $is|are|was|were $made|done|used|built|calculated|computed|called|pronounced|spelled END => how $2 $1 $3
    tell me how * works|work END => =?works $1
    tell me how $much|many|long|far|old|big|tall|often|high|deep|heavy|fast|wide * $is|are|was|were END => how $1 $3 $2
    tell me $where|when|why i $can|should|must|may => $1 $2 i
    tell me $if|whether i $can|should|must|may|could => $2 i
    tell me if|whether i have|need to => must i
    tell me if|whether i am allowed|permitted to => am i allowed to
    tell me if|whether it is $possible|okay|safe|legal|allowed|necessary => is it $1
    tell me if|whether there $is|are => $1 there
    tell me who $wrote|invented|discovered|founded|painted|composed|directed|built|designed|made|won|killed|sang|played|created|developed => who $1
    tell me $what|who|where $is|are|was|were => $1 $2
    tell me $what|who|where|when|why|how * $is|are|was|were END => $1 $3 $2
    tell me what * means|mean END => =?meaning $1
    tell me if|whether * $is|are|was|were|can|will|should|must|may => $2 $1
    tell me $when|where|why * $can|should|must|will|may => $1 $3 $2
    tell me why * $is|are|was|were => why $2 $1
    tell me $when|where|why|how * V END => $1 does $2 -$3
    tell me what time * V END => what time does $1 -$2
    tell|explain me? what * $does|do|did END => what $2 $1 do
    tell me what * costs|cost END => =?price $1
    tell|give me $the => what is $1
    give|show|write me? a|the list of => list
    list|enumerate the => what are the
    how do|would you|i|we spell => =?spell
    how is|are * spelled END => =?spell $1
    what is the correct? spelling of => =?spell
    how do|would you|i|we pronounce => =?pronounce
    how is|are * pronounced END => =?pronounce $1
    what is the correct? pronunciation of => =?pronounce
    # Ways to do something.
    how do|can|could|would|might|may|should? i|one best => =?how best =:
    how do|can|could|would|might|may i go about % => =?how: $1
    how do|can|could|would|might|may i => =?how:
    how does|can|could|would|might|may one => =?how:
    how to => =?how:
    how is it possible to => =?how:
    how would i be able to => =?how:
    what is|are the? $best|easiest|fastest|quickest|simplest|safest|cheapest|correct|right|proper|recommended|usual way|method to|for|of => =?how $1 =:
    what is|would|are be? the|a|one way|method|approach|procedure|process|steps to|for|of => =?how:
    what is|would be? a|the good way|method to|for|of => =?how good =:
    what is involved in % => =?how: $1
    what steps|actions do|should|must|can|could|would i need? to? take|follow|perform to => =?how:
    what|which steps are|is needed|required|necessary|involved to|for|in => =?how:
    what are the steps|instructions to|for|of => =?how:
    what do i do|need|have to? do? to => =?how:
    what should|would|could|can i do to => =?how:
    in|by what|which way|ways|means can|do|could|may i => =?how:
    what is a|the|one way i|one can|could|may => =?how:
    is there a|any way to * and? how END => =?how: $1
    i need|want|would like? to know|learn how to => =?how:
    i would like|love to know|learn how to => =?how:
    i want|need|wish|try|plan to * . how END => =?how: $1
    i would like|love to * . how END => =?how: $1
    i am trying|looking|planning|going to * . how END => =?how: $1
    i want|need|wish|try|plan to * . how do|can|could|should|would i do|achieve|manage|accomplish? that|this|it|so? END => =?how: $1
    i would like|love to * . how do|can|could|should|would i do|achieve|manage|accomplish? that|this|it|so? END => =?how: $1
    i am trying|looking|planning|going to * . how do|can|could|should|would i do|achieve|manage|accomplish? that|this|it|so? END => =?how: $1
    i want|need|wish|try|plan to * . how is that|this|it done END => =?how: $1
    i would like|love to * . how is that|this|it done END => =?how: $1
    i want|need|wish|plan to * . what do|should|must|can i need|have? to? do END => =?how: $1
    i would like|love to * . what do|should|must|can i need|have? to? do END => =?how: $1
    i want|need|wish|plan to * . what is|are the way|process|procedure|steps? END => =?how: $1
    i would like|love to * . what is|are the way|process|procedure|steps? END => =?how: $1
    what do|should|can i do . $my|the|our|i * END => =?do if $1 $2
    $my|the|our|i * . what do|should|can i do END => =?do if $1 $2
    what do|should|can i do END => =?do
    what do|should|can i do now that => =?do if
    what do|should|can i do $if|when|now => =?do $1
    # What is allowed.
    i want|wish|need|plan to * . is|would that|this|it be? possible|feasible END => =?can.possible $1
    i would like|love to * . is|would that|this|it be? possible|feasible END => =?can.possible $1
    i want|wish|need|plan to * . is|would that|this|it be? allowed|permitted END => =?can.allowed $1
    i would like|love to * . is|would that|this|it be? allowed|permitted END => =?can.allowed $1
    i would like|love to * . can|may|could i END => =?can $1
    i want|wish|need|plan to * . can|may|could i END => =?can $1
    would it be possible for? me? to => =?can.possible
    would it be okay|alright for? me? to => =?can.okay
    would it be okay|alright if i => =?can.okay
    would i be allowed|permitted to => =?can.allowed
    would i be able to => =?can.possible
    will i be able to => =?can.possible
    where can|do|could|would|might|may i => =?where
    where is|are the place|places to => =?where
    where to => =?where
    in which|what place|places|location|locations can|do|could|may i => =?where
    where is|are * $located|situated END => where is $1
    at what time => what time
    what time $does|do|did|will => when $1
    on what|which day|date $does|do|did|will|is|was|are => what day $1
    when should i|one => =?best_time:
    when is it best to => =?best_time:
    what|when is|would be? the best|right|ideal|optimal time|moment to|for => =?best_time:
    until|till|by when => =?until
    until|till what time|hour => =?until
    how late => =?until
    can i safely => is it safe to
    do you have|offer|provide => =?offer
    what if => what happens if
    what would|will happen if|when => what happens if
    what would|will happen END => what happens
    what happens when => what happens if
    # Reasons.
    why is it that => =?why
    why do => =?why
    for what|which reason|reasons do => =?why
    for what|which reason|reasons $does|did|is|are|was|were|can|should|must => why $1
    what is|are the|a reason|reasons that|why? * $is|are|was|were|can => why $2 $1
    what is|are the|a reason|reasons|cause that|why => =?why
    what is|are the|a reason|reasons for which => =?why
    what is|are the reason|reasons|cause|causes for|of|behind => =?cause
    how come => =?why
    why is|are|does|do this|that|it? so? END => why
    * . $why END => =?why $1
    * . how come END => =?why $1
    * . why is that|this|it so? END => =?why $1
    * . what is the reason for? that|this|it? END => =?why $1
    # What things mean and do.
    what does the? flag|option|switch @ of|in|for * mean|do => =?meaning.effect $1 option of $2
    what is|are the meaning|effect|purpose of the? @ option|flag|switch of|in|for => =?meaning.effect $1 option of
    what is|are the meaning|effect|purpose of the? option|flag|switch @ of|in|for => =?meaning.effect $1 option of
    what does the? @ option|flag|switch of|in|for * mean|do => =?meaning.effect $1 option of $2
    what does|do|did the? * mean|signify => =?meaning $1
    what is|are meant by the? => =?meaning
    what is|are|was the meaning|significance of the? => =?meaning
    what is|are * supposed to mean END => =?meaning $1
    what does|do * stand for => =?stands $1
    what is|are * short for END => =?stands $1
    what is the definition of => =?define
    define => =?define
    what does the? command|operator|expression|statement|flag|option? @ do => =?meaning.effect $1
    what is the effect|purpose|result of writing|running|using|calling|typing|executing? @ => =?meaning.effect $1
    what happens when|if i run|use|call|write|type|execute => =?meaning.effect
    what is the? effect of running|using|calling|executing => =?meaning.effect
    what does * do END => =?effect $1
    how does|do * work END => =?works $1
    explain how * works|work END => =?works $1
    what is|are * used for => =?use $1
    for what is|are * used => =?use $1
    what is|are the use|purpose of => =?use
    where does|do|did * come from => =?origin $1
    what is|are the origin|origins of => =?origin
    what color $is|are|was => =?color $1
    what $is|are|was the color of => =?color $1
    what|which language|languages is|are spoken in => =?language in
    what|which language|languages do people|they speak in => =?language in
    what is the time => what time is it
    # What differs.
    what is|are the|a? main|key? difference|differences between * and => =?differ $1 and
    explain|describe|tell|give me? the? difference|differences between * and => =?differ $1 and
    how do * and * differ => =?differ $1 and $2
    how are * and * different => =?differ $1 and $2
    how does|do * differ from => =?differ $1 and
    how is|are * different from|to|than => =?differ $1 and
    what distinguishes|differentiates|separates|sets * from => =?differ $1 and
    what makes * different from => =?differ $1 and
    in what|which way|ways do|does|are|is * and * differ|different => =?differ $1 and $2
    # What things cost, and how long they take.
    how much does|will|would it cost me? to => =?price_to:
    what does|will|would it cost me? to => =?price_to:
    what do|will|would i pay to => =?price_to:
    how much do|will|would|must i have? to? pay to => =?price_to:
    what is|are the price|cost|costs|fee|charge of|for % => =?price_to: $1
    how much does|do|will|would|did * cost => =?price $1
    what does|do|will|would|did * cost => =?price $1
    what is|are the price|cost|prices|costs of => =?price
    how expensive is|are it to => =?price_to:
    how expensive is|are => =?price
    how much is|are the $fine|penalty|fee|price|cost|charge|fare|rent|tax|deposit|toll|discount|surcharge => what is the $1
    how high is|are the $fine|penalty|fee|price|cost|charge|fare|rent|tax|deposit|toll|discount|surcharge => what is the $1
    how much is # => what is $1
    how long does|will|would|do|did it take me? to => =?duration_to:
    how much time does|will|would|do|did it take me? to => =?duration_to:
    how much time do|will|would i need to => =?duration_to:
    how long does|do|will|would|did * take => =?duration $1
    how much time does|do|will|would|did * take => =?duration $1
    how long is|was the $journey|trip|ride|flight|drive|warranty|guarantee|war|movie|film => =?length the $1
    what is|was the length|duration of => =?length
    how far is|are it from * to => =?distance $1 and
    how far is|are * away? from => =?distance $1 and
    what is the distance between * and => =?distance $1 and
    what is the distance from|of * to|from => =?distance $1 and
    how tall|high $is|are|was|were => =?tall $1
    what $is|was the height of => =?tall $1
    how old $is|are|was|were => =?age $1
    what $is|was the age of => =?age $1
    how big|large $is|are|was|were => =?size $1
    what $is|was the size of => =?size $1
    how deep $is|are|was|were => =?depth $1
    what $is|was the depth of => =?depth $1
    how wide $is|are|was|were => =?width $1
    what $is|was the width of => =?width $1
    how heavy $is|are|was|were => =?weight $1
    what $is|was the weight of => =?weight $1
    how fast $is|are|was|were => =?speed $1
    what $is|was the speed of => =?speed $1
    how much $does|do * weigh => =?weight is $2
    what does * weigh => =?weight is $1
    how many people live in => what is the population of
    how many inhabitants does * have => what is the population of $1
    how many * are|is there? in => =?count $1 in
    what is the number of * in => =?count $1 in
    how many * does|do * have END => =?count $1 in $2
    how many * are|is there END => =?count $1
    how many * has * got? END => =?count $1 in $2
    # Who made things, and what they are called.
    who|whom was|is|were * written by END => who wrote $1
    by who|whom was|is|were * written END => who wrote $1
    who|whom was|is|were * $invented|discovered|founded|painted|composed|directed|created|built|designed|made|produced|developed by END => who $2 $1
    by who|whom was|is|were * $invented|discovered|founded|painted|composed|directed|created|built|designed|made|produced|developed END => who $2 $1
    who is|was the author|writer of => who wrote
    what is the name of the author|writer of => who wrote
    what is the author of * called|named END => who wrote $1
    what|which author|writer wrote => who wrote
    who is|was the inventor of => who invented
    who is|was the discoverer of => who discovered
    who is|was the founder of => who founded
    who is|was the painter of => who painted
    what|which artist|painter painted => who painted
    who is|was the composer of => who composed
    who is|was the director of => who directed
    who is|was the creator of => who created
    what is|was|are the name|names? of the? $capital|currency|president|king|queen of => what is the $1 of
    what|which city is the capital of => what is the capital of
    what is P $population|capital|currency|height|size|age|length|name|color|price|cost|author|meaning|purpose END => what is the $2 of -$1
    what is * P $population|capital|currency|height|size|age|length|name|color|price|cost|author|meaning|purpose END => what is the $3 of $1 -$2
    name the $capital|currency of => what is the $1 of
    what|which currency does * use|have END => what is the currency of $1
    what|which currency is used in => what is the currency of
    what is|are * called|named END => =?name $1
    what is|are the name|names of|for => =?name
    in what|which year $did|was|were|does|do|will|is => what year $1
    # Requests.
    give|provide|write me? a summary of => summarize
    write|give|compose|make up? me|us? $a|an|some|the => =?give $1
    i need|want|would like? $a|an|some => =?need $1
    i am looking for $a|an|some => =?need $1
    give|provide me? an|the explanation of|for => explain
    explain to me => explain
    how do|would you|we|they|people say * in => =?translate $1 into
    how does one say * in => =?translate $1 into
    translate * into|to|in => =?translate $1 into
    translate * END => =?translate $1
    give|provide me? the|a _ translation of|for Q => =?translate $2 into $1
    what is the _ translation|word|phrase|term|expression for|of Q => =?translate $2 into $1
    what is|are Q in => =?translate $1 into
    how is Q said|translated in|into|to => =?translate $1 into
    convert|express|change|turn # * to|in|into => =?convert $1 $2 to
    convert|express # * END => =?convert $1 $2
    how much|many|warm|hot|cold|long|heavy|big|large|far is|are # * in => =?convert $1 $2 to
    what is|are # * converted|expressed? in|to|into => =?convert $1 $2 to
    give me? another|a word|synonym for|of => =?synonym
    what is|are another|a other? word|synonym for|of => =?synonym
    what is another word that means the same as => =?synonym
    name|find a word with the same meaning as => =?synonym
    name|find a synonym for|of => =?synonym
";
